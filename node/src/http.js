'use strict';
// node:http served from links. The requests are real `http.IncomingMessage` objects and the responses real
// `http.ServerResponse` objects; what they would do with a socket, they do with frames.
//
// Express replaces the prototypes of both, so a subclass's methods would vanish. The hooks therefore sit on node:http's
// own prototypes and look for `kExchange` on the object; objects without it (a second server, a client's response)
// go on to the original method. Unusual calls, above all wrong ones, are left to the originals too, so that they fail
// as they do in this version of Node.

const diagnostics = require('node:diagnostics_channel');
const http = require('node:http');
const { isUint8Array } = require('node:util/types');

const { Fields, FLAG, RESET, RequestHead, TYPE } = require('./frames.js');
const { RequestContexts } = require('./context.js');
const { ContractError, describe, nodeError } = require('./errors.js');
const { EMPTY, LinkStream } = require('./stream.js');
const { RequestSocket } = require('./socket.js');
const { openTunnel } = require('./upgrade.js');

// An application may replace the global.
const { setImmediate } = globalThis;

const kExchange = Symbol('bireme.exchange');

const { IncomingMessage, OutgoingMessage, ServerResponse, STATUS_CODES } = http;
const incoming = { _read: IncomingMessage.prototype._read, _destroy: IncomingMessage.prototype._destroy };
const outgoing = {
  _storeHeader: OutgoingMessage.prototype._storeHeader,
  _writeRaw: OutgoingMessage.prototype._writeRaw,
  end: OutgoingMessage.prototype.end,
  flushHeaders: OutgoingMessage.prototype.flushHeaders,
  write: OutgoingMessage.prototype.write,
};

// Where this version of Node keeps what we must read or keep true. Absent ones are not needed by that version.
const sample = new ServerResponse({ method: 'GET', httpVersionMajor: 1, httpVersionMinor: 1, headers: {} });
const symbolsOf = (object) => new Map(Object.getOwnPropertySymbols(object).map((symbol) => [symbol.description, symbol]));
const responseSymbols = symbolsOf(sample);
const serverSymbols = symbolsOf(http.createServer());
const kOutHeaders = responseSymbols.get('kOutHeaders');
const kNeedDrain = responseSymbols.get('kNeedDrain');
const kWritableFinished = responseSymbols.get('kWritableFinished');
// In later versions, callbacks of `end` are called before 'finish', and with an error when it does not come.
const kEndCallbacks = responseSymbols.get('kEndCallbacks');
const kRejectNonStandardBodyWrites = responseSymbols.get('kRejectNonStandardBodyWrites');
const kUniqueHeaders = serverSymbols.get('kUniqueHeaders');
const kIncomingMessage = serverSymbols.get('IncomingMessage');
const kServerResponse = serverSymbols.get('ServerResponse');
if (kOutHeaders === undefined || kNeedDrain === undefined) {
  throw new Error(`this version of Bireme cannot serve node:http of Node ${process.versions.node}; it supports Node 20 to 26`);
}

const requestStart = diagnostics.channel('http.server.request.start');
const responseFinish = diagnostics.channel('http.server.response.finish');

/** Strings up to this length are encoded straight into the output; three bytes is the most one UTF-16 unit takes. */
const INLINE_STRING_LENGTH_MAX = 21_845;
/** Bodies up to this length go into the RESPONSE frame itself. */
const INLINE_BODY_BYTES_MAX = 65_536;

const fields = new Fields();

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
    if (this.context === null) this.#pushBody(bytes);
    else this.context.runInAsyncScope(this.#pushBody, this, bytes);
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
    if (this.closed) return false;
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
      this.fail(error);
      return false;
    }
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

/** What `writeHead(status, fields)` was given, checked as Node's _storeHeader checks it, as `[name, value, …]`. */
function snapshotFields(headers) {
  const list = [];
  const add = (name, value) => {
    http.validateHeaderName(name);
    if (Array.isArray(value)) {
      for (const item of value) http.validateHeaderValue(name, item);
      list.push(name, value.slice());
    } else {
      http.validateHeaderValue(name, value);
      list.push(name, value);
    }
  };
  if (Array.isArray(headers)) {
    if (headers.length > 0 && Array.isArray(headers[0])) {
      for (const [name, value] of headers) add(name, value);
    } else {
      if (headers.length % 2 !== 0) {
        throw nodeError('ERR_INVALID_ARG_VALUE', `The argument 'headers' is invalid. Received ${describe(headers)}`, TypeError);
      }
      for (let i = 0; i < headers.length; i += 2) add(headers[i], headers[i + 1]);
    }
  } else {
    for (const name of Object.keys(headers)) add(name, headers[name]);
  }
  return list;
}

// The hooks.

function read(size) {
  const exchange = this[kExchange];
  if (exchange === undefined) return incoming._read.call(this, size);
  if (!exchange.reading) {
    exchange.reading = true;
    this._readableState.readingMore = false;
    // The name of this flag depends on the version of Node.
    if (this._consumed !== undefined) this._consumed = true;
    else this._consuming = true;
    if (exchange.bodyless && !this._readableState.ended) {
      this.push(null);
      return;
    }
  }
  exchange.grant();
}

function destroyIncoming(error, callback) {
  const exchange = this[kExchange];
  if (exchange === undefined) return incoming._destroy.call(this, error, callback);
  // Read to its end, or left unread by an answered exchange: nothing is cut short, and the original touches no socket.
  if ((this.readableEnded && this.complete) || (exchange.finishing && this.complete)) {
    if (this.readableEnded) incoming._destroy.call(this, error, callback);
    else process.nextTick(finishDestroy, this, error, callback);
    return;
  }
  this.aborted = true;
  this.emit('aborted');
  if (!exchange.socket.destroyed) exchange.socket.destroy(error);
  process.nextTick(finishDestroy, this, error, callback);
}

function finishDestroy(req, error, callback) {
  // As in Node, an aborted request without an 'error' listener is no uncaught exception.
  if (req.listenerCount('error') === 0) callback();
  else callback(error);
}

function storeHeader(firstLine, headers) {
  const exchange = this[kExchange];
  if (exchange === undefined) return outgoing._storeHeader.call(this, firstLine, headers);
  if (headers && headers !== this[kOutHeaders]) exchange.headFields = snapshotFields(headers);
  this._header = firstLine;
  this._headerSent = false;
  if (this.strictContentLength) {
    const length = headers === this[kOutHeaders] ? this.getHeader('content-length') : fieldOf(exchange.headFields, 'content-length');
    if (length !== undefined) this._contentLength = Number(length);
  }
}

function fieldOf(list, key) {
  for (let i = 0; list !== null && i < list.length; i += 2) if (list[i].toLowerCase() === key) return list[i + 1];
  return undefined;
}

/**
 * `strictContentLength`: a chunk that would make the body longer than promised, or the last one that leaves it shorter,
 * throws before anything is sent.
 */
function checkStrictly(res, chunk, encoding, last) {
  if (res._contentLength === null || !res._hasBody || res._removedContLen || res.hasHeader('transfer-encoding')) return;
  const exchange = res[kExchange];
  const bytes = exchange.bodyBytes + (chunk ? toBytes(chunk, encoding).length : 0);
  if (last ? bytes === res._contentLength : bytes <= res._contentLength) return;
  throw nodeError(
    'ERR_HTTP_CONTENT_LENGTH_MISMATCH',
    `Response body's content-length of ${bytes} byte(s) does not match the content-length of ${res._contentLength} byte(s) set in header`,
  );
}

function end(chunk, encoding, callback) {
  const exchange = this[kExchange];
  if (exchange === undefined) return outgoing.end.call(this, chunk, encoding, callback);
  if (typeof chunk === 'function') {
    callback = chunk;
    chunk = null;
    encoding = null;
  } else if (typeof encoding === 'function') {
    callback = encoding;
    encoding = null;
  }
  if (this.finished) return outgoing.end.call(this, chunk, encoding, callback);
  if (chunk && typeof chunk !== 'string' && !isUint8Array(chunk)) return outgoing.write.call(this, chunk, encoding);
  if (this.destroyed) {
    this.finished = true;
    if (typeof callback === 'function') {
      process.nextTick(callback, nodeError('ERR_STREAM_DESTROYED', 'Cannot call end after a stream was destroyed'));
    }
    return this;
  }
  if (this.strictContentLength) checkStrictly(this, chunk, encoding, true);
  if (!this._header) this._implicitHeader();
  if (chunk && !this._hasBody && this[kRejectNonStandardBodyWrites]) return outgoing.write.call(this, chunk, encoding);
  if (typeof callback === 'function') {
    if (kEndCallbacks === undefined) this.once('finish', callback);
    else (this[kEndCallbacks] ??= []).push(callback);
  }
  exchange.end(this, chunk, encoding);
  this.finished = true;
  if (exchange.sentEnd) exchange.finishSoon();
  if (!this.destroyed) this._finish();
  return this;
}

function write(chunk, encoding, callback) {
  const exchange = this[kExchange];
  if (exchange === undefined) return outgoing.write.call(this, chunk, encoding, callback);
  if (typeof encoding === 'function') {
    callback = encoding;
    encoding = null;
  }
  if (this.finished || this.destroyed || (typeof chunk !== 'string' && !isUint8Array(chunk))) {
    return outgoing.write.call(this, chunk, encoding, callback);
  }
  if (this.strictContentLength) checkStrictly(this, chunk, encoding, false);
  if (!this._header) this._implicitHeader();
  if (!this._hasBody) {
    if (this[kRejectNonStandardBodyWrites]) return outgoing.write.call(this, chunk, encoding, callback);
    exchange.flushHead(this);
    if (typeof callback === 'function') process.nextTick(callback);
    return true;
  }
  const more = exchange.write(this, chunk, encoding, typeof callback === 'function' ? callback : null);
  if (!more) this[kNeedDrain] = true;
  return more;
}

function flushHeaders() {
  const exchange = this[kExchange];
  if (exchange === undefined) return outgoing.flushHeaders.call(this);
  if (!this._header) this._implicitHeader();
  exchange.flushHead(this);
}

/** Node writes informational responses as text; this is where they pass in every version. */
function writeRaw(data, encoding, callback) {
  const exchange = this[kExchange];
  if (exchange === undefined) return outgoing._writeRaw.call(this, data, encoding, callback);
  if (typeof encoding === 'function') callback = encoding;
  const status = /^HTTP\/1\.1 (1\d\d) /.exec(data)?.[1];
  // The front has sent 100 Continue if the client asked for it.
  if (status !== undefined && status !== '100' && status !== '101') {
    exchange.informational(Number(status), parseFieldLines(data.slice(data.indexOf('\r\n'))));
  }
  if (typeof callback === 'function') process.nextTick(callback);
  return true;
}

/** Puts the hooks in. Once a process. */
function patchPrototypes() {
  const define = (prototype, name, value) => {
    Object.defineProperty(prototype, name, { value, writable: true, configurable: true, enumerable: true });
  };
  define(IncomingMessage.prototype, '_read', read);
  define(IncomingMessage.prototype, '_destroy', destroyIncoming);
  define(ServerResponse.prototype, '_storeHeader', storeHeader);
  define(ServerResponse.prototype, '_writeRaw', writeRaw);
  define(ServerResponse.prototype, 'end', end);
  define(ServerResponse.prototype, 'flushHeaders', flushHeaders);
  define(ServerResponse.prototype, 'write', write);
}

/**
 * The constructors of the objects `listener` will get. Express gives each request and response its own prototypes
 * first thing, which V8 punishes: in Node 20 and 22 every property added afterwards costs microseconds. When the
 * server's one listener is an Express application, the objects are born with those prototypes, and replacing them has
 * no effect. In every other case they are what Node makes.
 */
function constructorsFor(server, listener) {
  const Request = server[kIncomingMessage];
  const Response = server[kServerResponse];
  const request = listener?.request;
  const response = listener?.response;
  const express =
    typeof listener === 'function' &&
    typeof listener.handle === 'function' &&
    Request === IncomingMessage &&
    Response === ServerResponse &&
    IncomingMessage.prototype.isPrototypeOf(request) &&
    ServerResponse.prototype.isPrototypeOf(response);
  if (!express) return { Request, Response };
  function ExpressRequest(socket) {
    IncomingMessage.call(this, socket);
  }
  function ExpressResponse(req, options) {
    ServerResponse.call(this, req, options);
  }
  ExpressRequest.prototype = request;
  ExpressResponse.prototype = response;
  return { Request: ExpressRequest, Response: ExpressResponse };
}

/** Serves the requests of data links with an `http.Server` that listens nowhere. */
class HttpService {
  constructor(server) {
    this.server = server;
    this.closing = false;
    this.active = 0;
    this.contexts = new RequestContexts();
    this.listener = undefined;
    this.make = constructorsFor(server, undefined);
    this.responseOptions = { rejectNonStandardBodyWrites: server.rejectNonStandardBodyWrites };
  }

  open(link, id, flags, buffer, start, end) {
    const head = new RequestHead(buffer, start, end);
    if (this.closing) {
      link.reset(id, RESET.REFUSED, 'the application has closed its server');
      return null;
    }
    const server = this.server;
    const receivedEnd = (flags & FLAG.END) !== 0;
    const exchange = new HttpExchange(link, id, receivedEnd, this);
    const socket = new RequestSocket(exchange, head, server);
    const listener = server._events.request;
    if (listener !== this.listener) {
      this.listener = listener;
      this.make = constructorsFor(server, listener);
    }
    const { make } = this;
    const req = new make.Request(socket);
    const raw = head.rawFields();
    // HTTP/2 is the front's affair: to the application this is HTTP/1.1, as behind every reverse proxy.
    req.httpVersionMajor = 1;
    if (head.version === 10) {
      req.httpVersionMinor = 0;
      req.httpVersion = '1.0';
    } else {
      req.httpVersionMinor = 1;
      req.httpVersion = '1.1';
    }
    req.joinDuplicateHeaders = server.joinDuplicateHeaders;
    req.method = head.method;
    req.url = head.target;
    req._addHeaderLines(raw, raw.length);
    req[kExchange] = exchange;
    exchange.version = head.version;
    exchange.socket = socket;
    exchange.req = req;
    this.active++;
    server._connections++;

    if ((flags & FLAG.UPGRADE) !== 0 && server.listenerCount('upgrade') > 0) {
      req.upgrade = true;
      const first = Buffer.from(buffer.subarray(head.bodyStart, end));
      const opened = { link, id, first, receivedEnd };
      const context = this.contexts.begin();
      if (context === null) return openTunnel(this, req, head, opened);
      return context.runInAsyncScope(openTunnel, undefined, this, req, head, opened);
    }
    req.upgrade = false;
    exchange.bodyless = receivedEnd && head.bodyStart === end;
    const res = new make.Response(req, this.responseOptions);
    res[kExchange] = exchange;
    exchange.res = res;
    if (kUniqueHeaders !== undefined) res[kUniqueHeaders] = server[kUniqueHeaders];
    socket._httpMessage = res;
    res.socket = socket;
    if (!exchange.bodyless) {
      // Registered first: the listener may answer at once.
      link.streams.set(id, exchange);
      exchange.receivedEnd = false;
      if (head.bodyStart < end || receivedEnd) exchange.onData(buffer, head.bodyStart, end, receivedEnd);
    }
    const context = this.contexts.begin();
    if (context === null) {
      this.dispatch(exchange, req, res);
    } else {
      exchange.context = context;
      context.runInAsyncScope(this.dispatch, this, exchange, req, res);
    }
    // In Node, too, a request is complete only after its listeners have run once.
    if (exchange.bodyless) req.complete = true;
    return exchange.closed ? null : exchange;
  }

  dispatch(exchange, req, res) {
    const server = this.server;
    try {
      if (requestStart.hasSubscribers) requestStart.publish({ request: req, response: res, socket: exchange.socket, server });
      if (!server.emit('request', req, res)) {
        // Node leaves such a request hanging until a timeout; a server without a listener is a mistake worth an answer.
        exchange.fail(new Error('the http.Server has no listener for "request"'));
      }
    } catch (error) {
      this.threw(exchange, error);
    }
  }

  /** A listener threw before it returned. The worker outlives it unless the program wants to see such errors itself. */
  threw(exchange, error) {
    if (process.listenerCount('uncaughtException') > 0) process.nextTick(rethrow, error);
    else exchange.fail(error);
  }

  /** An exchange is over. */
  closed(exchange) {
    if (!exchange.counted) return;
    exchange.counted = false;
    this.active--;
    const server = this.server;
    if (server._connections > 0) server._connections--;
    if (server._handle === null) server._emitCloseIfDrained();
  }
}

function rethrow(error) {
  throw error;
}

/** Serves with a bare `(req, res)` function. */
class HandlerService extends HttpService {
  constructor(handler) {
    super(http.createServer());
    this.handler = handler;
  }

  dispatch(exchange, req, res) {
    try {
      const returned = this.handler(req, res);
      if (returned !== null && typeof returned === 'object' && typeof returned.then === 'function') {
        returned.then(undefined, (error) => exchange.fail(error));
      }
    } catch (error) {
      exchange.fail(error);
    }
  }
}

module.exports = { HandlerService, HttpService, kExchange, patchPrototypes };
