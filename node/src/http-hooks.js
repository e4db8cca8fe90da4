'use strict';
// The hooks in node:http's prototypes.
//
// Express replaces the prototypes of requests and responses, so a subclass's methods would vanish. The hooks therefore
// sit on node:http's own prototypes and look for `kExchange` on the object; objects without it (a second server's, a
// client's) go on to the original method. Unusual calls, above all wrong ones, are left to the originals too, so that
// they fail as they do in this version of Node.

const http = require('node:http');
const { isUint8Array } = require('node:util/types');

const { describe, nodeError } = require('./errors.js');
const { parseFieldLines, toBytes } = require('./exchange.js');
const { kEndCallbacks, kExchange, kNeedDrain, kOutHeaders, kRejectNonStandardBodyWrites } = require('./http-internals.js');

const { IncomingMessage, OutgoingMessage, ServerResponse } = http;
const incoming = {
  _addHeaderLine: IncomingMessage.prototype._addHeaderLine,
  _destroy: IncomingMessage.prototype._destroy,
  _read: IncomingMessage.prototype._read,
};
const outgoing = {
  _storeHeader: OutgoingMessage.prototype._storeHeader,
  _writeRaw: OutgoingMessage.prototype._writeRaw,
  end: OutgoingMessage.prototype.end,
  flushHeaders: OutgoingMessage.prototype.flushHeaders,
  write: OutgoingMessage.prototype.write,
};

// Names of request fields in lower case. Bounded, for clients choose the names; the rest takes Node's way.
const KNOWN_NAMES_MAX = 512;
const knownNames = new Map();

/**
 * The first field of a name is simply stored in every version of Node (`set-cookie` apart); what becomes of the second
 * has many rules, which are the original's.
 */
function addHeaderLine(name, value, dest) {
  const key = knownNames.get(name);
  if (key !== undefined && dest[key] === undefined) {
    dest[key] = value;
    return;
  }
  if (key === undefined && knownNames.size < KNOWN_NAMES_MAX) {
    const lower = name.toLowerCase();
    if (lower !== 'set-cookie') knownNames.set(name, lower);
  }
  incoming._addHeaderLine.call(this, name, value, dest);
}

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
  if (this.finished) {
    if (chunk && exchange.survivesLateWrite(this, callback)) return this;
    return outgoing.end.call(this, chunk, encoding, callback);
  }
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
  if (this.finished && exchange.survivesLateWrite(this, callback)) return false;
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
  define(IncomingMessage.prototype, '_addHeaderLine', addHeaderLine);
  define(IncomingMessage.prototype, '_read', read);
  define(IncomingMessage.prototype, '_destroy', destroyIncoming);
  define(ServerResponse.prototype, '_storeHeader', storeHeader);
  define(ServerResponse.prototype, '_writeRaw', writeRaw);
  define(ServerResponse.prototype, 'end', end);
  define(ServerResponse.prototype, 'flushHeaders', flushHeaders);
  define(ServerResponse.prototype, 'write', write);
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

module.exports = { patchPrototypes };
