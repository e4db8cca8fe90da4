'use strict';
// Upgraded connections: the socket that 'upgrade' listeners get, whose bytes travel through the front untouched. It
// knows nothing of WebSocket; `ws` and socket.io do their own framing over it.

const { Duplex } = require('node:stream');

const { RESET, TYPE } = require('./frames.js');
const { describe } = require('./errors.js');
const { kExchange } = require('./http-internals.js');
const { EMPTY, LinkStream } = require('./stream.js');
const { RequestSocket } = require('./socket.js');

/** The link's end of a tunnel. */
class TunnelStream extends LinkStream {
  constructor(link, id) {
    // The END of the request is that of its body, which an upgrade has none of; raw bytes follow.
    super(link, id, false);
    this.begun = false;
    this.socket = null;
  }

  /** Sends raw bytes; the first frame turns the request into a tunnel. Returns whether credit sufficed. */
  write(bytes, end, callback) {
    if (!this.begun) {
      this.begun = true;
      this.link.writer.empty(TYPE.TUNNEL, this.id, 0, 0);
    }
    return this.send(bytes, end, callback);
  }

  onBody(bytes) {
    const { socket } = this;
    socket.bytesRead += bytes.length;
    socket.touch();
    if (socket.destroyed || socket.push(bytes)) this.grant();
  }

  onBodyEnd() {
    if (!this.socket.destroyed) this.socket.push(null);
  }

  onAborted() {
    this.socket.destroy();
  }

  onDrained() {}
}

/** What `net.Socket` is to an 'upgrade' listener. Half-open, as the sockets of node:http are. */
class TunnelSocket extends Duplex {
  constructor(stream, head, server, onClosed) {
    super({ allowHalfOpen: true, highWaterMark: 65_536 });
    this.exchange = stream;
    this.head = head;
    this.server = server;
    this.bytesRead = 0;
    this.bytesWritten = 0;
    this.timeout = 0;
    this.timer = null;
    this._httpMessage = null;
    this.onClosed = onClosed;
  }

  _read() {
    this.exchange.grant();
  }

  _write(chunk, _encoding, callback) {
    this.touch();
    this.bytesWritten += chunk.length;
    this.exchange.write(chunk, false, callback);
  }

  _writev(chunks, callback) {
    this._write(Buffer.concat(chunks.map(({ chunk }) => chunk)), null, callback);
  }

  _final(callback) {
    if (this.exchange.begun) {
      this.exchange.write(EMPTY, true, null);
    } else {
      // Nothing was written: there is no response to end.
      this.exchange.reset(RESET.INTERNAL, 'the application ended an upgrade request without an answer');
    }
    callback();
  }

  _destroy(error, callback) {
    if (this.timer !== null) clearTimeout(this.timer);
    this.timer = null;
    const { exchange } = this;
    if (error) exchange.reset(RESET.INTERNAL, `the application destroyed an upgraded connection: ${describe(error)}`);
    else if (!exchange.begun) exchange.reset(RESET.INTERNAL, 'the application destroyed an upgrade request without an answer');
    else if (!exchange.sentEnd || !exchange.receivedEnd) exchange.reset(RESET.NO_ERROR, '');
    this.onClosed();
    callback(error);
  }

  get readyState() {
    if (this.destroyed) return 'closed';
    if (this.readable) return this.writable ? 'open' : 'readOnly';
    return this.writable ? 'writeOnly' : 'closed';
  }

  onTimeout() {
    this.emit('timeout');
  }

  setTimeout(milliseconds, callback) {
    this.timeout = milliseconds;
    if (this.timer !== null) clearTimeout(this.timer);
    this.timer = milliseconds > 0 && !this.destroyed ? setTimeout(() => this.onTimeout(), milliseconds).unref() : null;
    if (typeof callback === 'function') {
      if (milliseconds > 0) this.once('timeout', callback);
      else this.removeListener('timeout', callback);
    }
    return this;
  }

  destroySoon() {
    if (this.writable) this.end();
    if (this.writableFinished) this.destroy();
    else this.once('finish', this.destroy);
  }

  resetAndDestroy() {
    return this.destroy();
  }
}

// What a connection says of itself is the same before and after an upgrade.
for (const name of [
  'encrypted', 'authorized', 'remoteAddress', 'remotePort', 'remoteFamily', 'localAddress', 'localPort', 'localFamily',
  'address', 'connecting', 'pending', 'bufferSize', 'touch', 'setNoDelay', 'setKeepAlive', 'ref', 'unref',
  'getPeerCertificate', 'getCipher', 'getProtocol',
]) {
  Object.defineProperty(TunnelSocket.prototype, name, Object.getOwnPropertyDescriptor(RequestSocket.prototype, name));
}

/**
 * Emits 'upgrade' for a request. Its `head` is empty: what the client sends behind its request comes as DATA once there
 * is a tunnel. Returns the stream, or null when the listener has already closed it.
 */
function openTunnel(service, req, head, link, id) {
  const stream = new TunnelStream(link, id);
  const over = { counted: true };
  const socket = new TunnelSocket(stream, head, service.server, () => service.closed(over));
  stream.socket = socket;
  req.socket = socket;
  req.client = socket;
  // What ends the request ends the connection.
  req[kExchange].socket = socket;
  req.complete = true;
  req.push(null);
  link.streams.set(id, stream);
  try {
    service.server.emit('upgrade', req, socket, EMPTY);
  } catch (error) {
    if (process.listenerCount('uncaughtException') > 0) {
      process.nextTick(() => {
        throw error;
      });
    } else {
      socket.on('error', () => {});
      socket.destroy(error);
    }
  }
  return stream.closed ? null : stream;
}

module.exports = { openTunnel };
