'use strict';
// What an application finds as `req.socket`: a stand-in for the client's connection, which the front keeps to itself.
// It answers questions about the connection and passes on its end; it carries no bytes.

const { EventEmitter } = require('node:events');

/**
 * One for each request, for requests of one connection arrive on no common object. It is made for every request, so
 * it holds little and calls no constructor of EventEmitter, whose methods cope with fields that are not there yet.
 */
class RequestSocket {
  constructor(exchange, head, server) {
    this._events = undefined;
    this._eventsCount = 0;
    this._maxListeners = undefined;
    this._httpMessage = null;
    this.destroyed = false;
    this.server = server;
    this.head = head;
    this.exchange = exchange;
    this.timeout = 0;
    this.timer = null;
  }

  get encrypted() {
    return this.head.secure ? true : undefined;
  }
  get authorized() {
    return false;
  }
  get remoteAddress() {
    return this.head.remoteAddress || undefined;
  }
  get remotePort() {
    return this.head.remotePort || undefined;
  }
  get remoteFamily() {
    return family(this.head.remoteAddress);
  }
  get localAddress() {
    return this.head.localAddress || undefined;
  }
  get localPort() {
    return this.head.localPort || undefined;
  }
  get localFamily() {
    return family(this.head.localAddress);
  }
  address() {
    const address = this.localAddress;
    return address === undefined ? {} : { address, family: this.localFamily, port: this.localPort };
  }

  get readable() {
    return !this.destroyed;
  }
  get writable() {
    return !this.destroyed;
  }
  get writableEnded() {
    return this.destroyed;
  }
  get readableEnded() {
    return this.destroyed;
  }
  get closed() {
    return this.destroyed;
  }
  get connecting() {
    return false;
  }
  get pending() {
    return false;
  }
  get readyState() {
    return this.destroyed ? 'closed' : 'open';
  }
  get errored() {
    return null;
  }
  get readableHighWaterMark() {
    return 65_536;
  }
  get writableHighWaterMark() {
    return 65_536;
  }
  get writableLength() {
    return this.exchange.queuedBytes;
  }
  get writableCorked() {
    return 0;
  }
  get bufferSize() {
    return this.exchange.queuedBytes;
  }
  get bytesRead() {
    return 0;
  }
  get bytesWritten() {
    return 0;
  }

  // Node's own streams look here before they call `cork`.
  get _writableState() {
    return { corked: 0, errored: null, finished: this.destroyed, ended: this.destroyed };
  }

  setTimeout(milliseconds, callback) {
    this.timeout = milliseconds;
    if (this.timer !== null) clearTimeout(this.timer);
    this.timer = milliseconds > 0 && !this.destroyed ? setTimeout(() => this.exchange.onTimeout(), milliseconds).unref() : null;
    if (typeof callback === 'function') {
      if (milliseconds > 0) this.once('timeout', callback);
      else this.removeListener('timeout', callback);
    }
    return this;
  }

  /** Something moved: the time of idleness starts anew. */
  touch() {
    if (this.timer !== null) this.timer.refresh();
  }

  setNoDelay() {
    return this;
  }
  setKeepAlive() {
    return this;
  }
  setEncoding() {
    return this;
  }
  ref() {
    return this;
  }
  unref() {
    return this;
  }
  cork() {}
  uncork() {}
  resume() {
    return this;
  }
  pause() {
    return this;
  }

  getPeerCertificate() {
    return {};
  }
  getCipher() {
    return {};
  }
  getProtocol() {
    return null;
  }

  /** The connection carries HTTP, which the front writes: raw bytes have no place in it. */
  write() {
    this.destroy(new Error('an application wrote raw bytes to req.socket; only an upgraded connection can carry them'));
    return false;
  }
  end() {
    this.destroy();
    return this;
  }
  destroySoon() {
    this.destroy();
  }
  resetAndDestroy() {
    return this.destroy();
  }

  destroy(error) {
    if (!this.destroyed) this.exchange.onSocketDestroyed(error);
    return this;
  }

  markDestroyed() {
    this.destroyed = true;
    if (this.timer !== null) clearTimeout(this.timer);
    this.timer = null;
  }

  emitClosed() {
    if (this._eventsCount > 0) this.emit('close', false);
  }
}
Object.setPrototypeOf(RequestSocket.prototype, EventEmitter.prototype);

function family(address) {
  if (address === '') return undefined;
  return address.includes(':') ? 'IPv6' : 'IPv4';
}

module.exports = { RequestSocket };
