'use strict';
// One request and its response, as node:http's objects see them: what Node's server does with a connection's parser
// and socket, this does with a stream's frames. The objects themselves come from http.js, and http-hooks.js leads
// their calls here.

const diagnostics = require('node:diagnostics_channel');
const http = require('node:http');

const { Fields, FLAG, RESET, TYPE } = require('./frames.js');
const { ContractError, describe, nodeError } = require('./errors.js');
const { kEndCallbacks, kNeedDrain, kOutHeaders, kUniqueHeaders, kWritableFinished } = require('./http-internals.js');
const { EMPTY, LinkStream } = require('./stream.js');

const { STATUS_CODES } = http;
// An application may replace the global.
const { setImmediate } = globalThis;

const responseFinish = diagnostics.channel('http.server.response.finish');

/** Strings up to this length are encoded straight into the output; three bytes is the most one UTF-16 unit takes. */
const INLINE_STRING_LENGTH_MAX = 21_845;
/** Bodies up to this length go into the RESPONSE frame itself. */
const INLINE_BODY_BYTES_MAX = 65_536;

const fields = new Fields();

/** Exchanges whose late writes have been said. */
const complainedOf = new WeakSet();

/** One request and its response. */
class HttpExchange extends LinkStream {
  constructor(link, id, receivedEnd, service) {
    super(link, id, receivedEnd);
    this.service = service;
    this.socket = null;
    this.req = null;
    this.res = null;
    this.reading = false;
    // The whole request came in one frame and has no body.
    this.bodyless = false;
    this.counted = true;
    this.over = false;
    this.context = null;
    // The fields given to writeHead alone, or null when they are in the response's own store.
    this.headFields = null;
    this.version = 11;
    this.contentLength = -1;
    this.bodyBytes = 0;
    this.finishing = false;
  }

  // The request's body.

  onBody(bytes) {
    try {
      if (this.context === null) this.#pushBody(bytes);
      else this.context.runInAsyncScope(this.#pushBody, this, bytes);
    } catch (error) {
      this.service.threw(this, error);
    }
  }

  #pushBody(bytes) {
    const req = this.req;
    this.socket.touch();
    if (req._dumped || req.destroyed) {
      this.grant();
    } else if (req.push(bytes)) {
      this.grant();
    }
  }

  onBodyEnd(trailers) {
    if (this.context === null) this.#endBody(trailers);
    else this.context.runInAsyncScope(this.#endBody, this, trailers);
  }

  #endBody(trailers) {
    const req = this.req;
    req.complete = true;
    if (trailers !== null) req._addHeaderLines(trailers, trailers.length);
    if (!req.destroyed) req.push(null);
  }

  // The response.

  /** Writes the RESPONSE frame's head and leaves the frame open. Throws `ContractError`. */
  beginResponse(res, bodyMax) {
    const status = res.statusCode;
    if (!(status >= 200 && status <= 599)) {
      throw new ContractError(`the response has status ${status}; 200 to 599 can be sent`);
    }
    fields.clear();
    const own = this.headFields === null ? res[kOutHeaders] : null;
    let connection = false;
    if (own !== null) {
      for (const key in own) {
        const entry = own[key];
        if (this.#addField(res, key, entry[0], entry[1])) connection = true;
      }
    } else if (this.headFields !== null) {
      const list = this.headFields;
      for (let i = 0; i < list.length; i += 2) {
        if (this.#addField(res, list[i].toLowerCase(), list[i], list[i + 1])) connection = true;
      }
    }
    if (!connection && !res.shouldKeepAlive && this.version !== 10 && !res._removedConnection) fields.add('Connection', 'close');
    const phrase = res.statusMessage;
    const reason = phrase === undefined || phrase === STATUS_CODES[status] ? '' : phrase;
    const start = this.link.writer.beginResponse(this.id, status, reason, fields, bodyMax);
    res._headerSent = true;
    return start;
  }

  /** Adds one field and says whether it is `connection`. The rules are those of Node's processHeader. */
  #addField(res, key, name, value) {
    if (typeof value !== 'string') {
      if (Array.isArray(value)) {
        if ((value.length < 2 || key !== 'cookie') && !res[kUniqueHeaders]?.has(key)) {
          let connection = false;
          for (const item of value) connection = this.#addField(res, key, name, `${item}`) || connection;
          return connection;
        }
        value = value.join('; ');
      } else {
        value = `${value}`;
      }
    }
    switch (key) {
      case 'content-length':
        this.contentLength = +value;
        break;
      case 'transfer-encoding':
        // The front frames the body.
        return false;
      case 'connection':
        fields.add(name, value);
        return true;
      default:
    }
    fields.add(name, value);
    return false;
  }

  /** `res.end` after its checks: the last bytes of the body, or none. */
  end(res, chunk, encoding) {
    if (this.closed) return;
    try {
      if (!res._hasBody) chunk = null;
      const length = chunk ? chunk.length : 0;
      if (!res._headerSent && this.queue === null && res._trailer === '') {
        if (length === 0) {
          const writer = this.link.writer;
          const start = this.beginResponse(res, 0);
          if (this.contentLength > 0 && res._hasBody) {
            writer.length = start;
            this.#checkLength(res, 0);
          }
          writer.finish(start, FLAG.END);
          this.endSent();
          return;
        }
        if (typeof chunk === 'string') {
          if (length <= INLINE_STRING_LENGTH_MAX && isUtf8(encoding)) {
            const writer = this.link.writer;
            const start = this.beginResponse(res, length * 3);
            const bodyStart = writer.length;
            writer.appendUtf8(chunk);
            const bytes = writer.length - bodyStart;
            if (this.contentLength >= 0 && this.contentLength !== bytes) {
              writer.length = start;
              this.#checkLength(res, bytes);
            }
            writer.finish(start, FLAG.END);
            this.endSent();
            return;
          }
          chunk = Buffer.from(chunk, encoding);
        }
        if (chunk.length <= INLINE_BODY_BYTES_MAX) {
          const writer = this.link.writer;
          const start = this.beginResponse(res, chunk.length);
          if (this.contentLength >= 0 && this.contentLength !== chunk.length) {
            writer.length = start;
            this.#checkLength(res, chunk.length);
          }
          writer.appendBytes(chunk);
          writer.finish(start, FLAG.END);
          this.endSent();
          return;
        }
      }
      this.#endLater(res, length === 0 ? EMPTY : toBytes(chunk, encoding));
    } catch (error) {
      this.fail(error);
    }
  }

  /** The end of a response that has begun, is long, waits for credit, or has trailers. */
  #endLater(res, bytes) {
    if (!res._headerSent) this.link.writer.finish(this.beginResponse(res, 0), 0);
    this.bodyBytes += bytes.length;
    this.#checkLength(res, this.bodyBytes);
    if (res._trailer === '') {
      this.send(bytes, true, null);
      return;
    }
    if (bytes.length > 0) this.send(bytes, false, null);
    const list = parseFieldLines(res._trailer);
    this.sendTrailers(() => {
      fields.clear();
      for (let i = 0; i < list.length; i += 2) fields.add(list[i], list[i + 1]);
      this.link.writer.fieldList(TYPE.TRAILERS, this.id, 0, FLAG.END, fields);
    });
  }

  #checkLength(res, bytes) {
    if (this.contentLength < 0 || this.contentLength === bytes || !res._hasBody) return;
    throw new ContractError(
      `the response to ${this.req.method} ${this.req.url} has content-length ${this.contentLength} but its body has ${bytes} bytes`,
    );
  }

  /** `res.write` after its checks. Returns whether more may be written at once. */
  write(res, chunk, encoding, callback) {
    if (this.closed) {
      notWritten(callback);
      return false;
    }
    try {
      this.flushHead(res);
      if (chunk.length === 0) {
        if (callback !== null) process.nextTick(callback);
        return this.queue === null;
      }
      const bytes = toBytes(chunk, encoding);
      this.bodyBytes += bytes.length;
      if (this.contentLength >= 0 && this.bodyBytes > this.contentLength) this.#checkLength(res, this.bodyBytes);
      this.socket.touch();
      return this.send(bytes, false, callback);
    } catch (error) {
      notWritten(callback);
      this.fail(error);
      return false;
    }
  }

  /**
   * The application writes to a response that it has ended. Node tells the response's 'error' listeners, and ends the process if there
   * are none; here that is said in the log instead, once a response. False: Node's way, since somebody listens.
   */
  survivesLateWrite(res, callback) {
    if (res.listenerCount('error') > 0 || process.listenerCount('uncaughtException') > 0) return false;
    const error = nodeError('ERR_STREAM_WRITE_AFTER_END', 'write after end');
    if (typeof callback === 'function') process.nextTick(callback, error);
    if (!complainedOf.has(this)) {
      complainedOf.add(this);
      const { method, url } = this.req;
      process.stderr.write(`bireme: the application wrote to its response to ${method} ${url} after the end: ${describe(error)}\n`);
    }
    return true;
  }

  flushHead(res) {
    if (res._headerSent || this.closed) return;
    this.link.writer.finish(this.beginResponse(res, 0), 0);
    this.link.scheduleFlush();
  }

  informational(status, list) {
    if (this.closed || this.version === 10) return;
    fields.clear();
    for (let i = 0; i < list.length; i += 2) fields.add(list[i], list[i + 1]);
    this.link.writer.fieldList(TYPE.INFORMATIONAL, this.id, status, 0, fields);
    this.link.scheduleFlush();
  }

  onDrained() {
    const res = this.res;
    if (this.sentEnd) {
      this.finishSoon();
    } else if (res[kNeedDrain]) {
      res[kNeedDrain] = false;
      res.emit('drain');
    }
  }

  /** After `res.end`, once everything is written: 'finish' and what follows, when the frames have left. */
  finishSoon() {
    if (this.finishing) return;
    this.finishing = true;
    if (this.res._eventsCount === 0 && this.req._eventsCount === 0 && !this.hasEndCallbacks()) {
      this.link.scheduleAfterFlush(this);
    } else {
      // Listeners run in the asynchronous context of `res.end`, which is the request's own, as in Node.
      this.link.flushAtNextTick();
      process.nextTick(afterFlush, this);
    }
  }

  hasEndCallbacks() {
    return kEndCallbacks !== undefined && this.res[kEndCallbacks] !== null;
  }

  /** What Node does when the socket has taken the last byte (resOnFinish). */
  afterFlush() {
    const { req, res } = this;
    if (res._closed) return;
    if (kWritableFinished !== undefined) res[kWritableFinished] = true;
    if (responseFinish.hasSubscribers) {
      responseFinish.publish({ request: req, response: res, socket: this.socket, server: this.service.server });
    }
    this.#leaveBody(req);
    this.socket._httpMessage = null;
    res.socket = null;
    if (this.hasEndCallbacks()) {
      const callbacks = res[kEndCallbacks];
      res[kEndCallbacks] = null;
      for (const callback of callbacks) callback(null);
    }
    if (res._eventsCount > 0) res.emit('finish');
    this.socket.setTimeout(0);
    this.service.closed(this);
    if (res._eventsCount > 0) {
      process.nextTick(emitClose, res);
    } else {
      res.destroyed = true;
      res._closed = true;
    }
  }

  /** The response is out. A body nobody reads is not worth receiving. */
  #leaveBody(req) {
    if (!this.reading && !req.destroyed) {
      this.discardBody();
      req.complete = true;
      // Nobody listens to a request's end in most applications, and going through it costs as much as the rest.
      if (req._eventsCount > 0) {
        if (this.bodyless || !this.receivedEnd) req.push(null);
        req._dump();
      } else {
        req._dumped = true;
      }
    } else if (req.destroyed) {
      this.discardBody();
    }
  }

  // How it ends otherwise.

  /** The client went away, or the link did. */
  onAborted() {
    this.#abort(connectionReset());
  }

  /** The application destroyed `req`, `res` or `req.socket`: its client's connection ends where it is. */
  onSocketDestroyed(error) {
    const why = error ? `: ${describe(error)}` : '';
    this.reset(RESET.INTERNAL, `the application destroyed the connection of ${this.req.method} ${this.req.url}${why}`);
    this.socket.markDestroyed();
    // A real socket tells a turn later that it is closed.
    setImmediate(() => this.#abort(error ?? connectionReset()));
  }

  /** A listener threw, or the response broke HTTP's rules. */
  fail(error) {
    if (this.over) return;
    const code = error instanceof ContractError ? RESET.PROTOCOL : RESET.INTERNAL;
    const text = error instanceof ContractError ? error.message : describe(error);
    if (this.sentEnd) {
      // The front has its answer, and would not hear of it.
      process.stderr.write(`bireme: the application failed after its response to ${this.req.method} ${this.req.url}: ${text}\n`);
    }
    this.reset(code, text);
    this.#abort(error instanceof Error ? error : new Error(String(error)));
  }

  /** What Node does when a connection closes before its response is complete (socketOnClose, abortIncoming). */
  #abort(error) {
    const { req, res, socket } = this;
    if (this.over) return;
    this.over = true;
    socket.markDestroyed();
    socket.emitClosed();
    if (!this.finishing || !req.complete) req.destroy(error);
    if (!res._closed) {
      res.destroyed = true;
      process.nextTick(emitClose, res);
    }
    this.service.closed(this);
  }

  onTimeout() {
    const { req, res, socket, service } = this;
    const heard = [req.complete ? false : req.emit('timeout'), res.emit('timeout'), socket.emit('timeout')];
    if (service.server.emit('timeout', socket)) heard.push(true);
    if (!heard.includes(true)) socket.destroy();
  }
}

function afterFlush(exchange) {
  exchange.afterFlush();
}

/** Whoever waits for a chunk hears that it will not go out. */
function notWritten(callback) {
  if (callback !== null) process.nextTick(callback, nodeError('ERR_STREAM_DESTROYED', 'Cannot call write after a stream was destroyed'));
}

function connectionReset() {
  return nodeError('ECONNRESET', 'aborted');
}

function emitClose(res) {
  if (res._closed) return;
  res.destroyed = true;
  res._closed = true;
  res.emit('close');
}

function isUtf8(encoding) {
  return encoding === undefined || encoding === null || encoding === 'utf8' || encoding === 'utf-8';
}

function toBytes(chunk, encoding) {
  return typeof chunk === 'string' ? Buffer.from(chunk, encoding ?? 'utf8') : chunk;
}

/** `Name: value\r\n…` as Node keeps trailers and early hints, back into `[name, value, …]`. */
function parseFieldLines(text) {
  const list = [];
  for (const line of text.split('\r\n')) {
    const colon = line.indexOf(':');
    if (colon > 0) list.push(line.slice(0, colon), line.slice(colon + 1).trim());
  }
  return list;
}

module.exports = { HttpExchange, parseFieldLines, toBytes };
