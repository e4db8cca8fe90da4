'use strict';
// `server.listen()` of node:http and node:https: the service's server is served from the links and binds nothing. Node's
// own `listen` still reads its arguments, looks up hosts and reports mistakes; only the last step, which would bind,
// is ours.

const http = require('node:http');
const https = require('node:https');
const net = require('node:net');

/** Ports an application sees for `listen(0)`: from the dynamic range, so that nobody takes one for a real service. */
const MADE_UP_PORT = 49_152;

/** Stands where a listening server has its handle. */
class LinkHandle {
  constructor(address, port, addressType, hold) {
    this.address = address;
    this.port = port;
    this.addressType = addressType;
    this.hold = hold;
    this.fd = -1;
  }

  getsockname(out) {
    const six = this.addressType === 6 || this.address === null || this.address === undefined;
    out.address = this.address ?? '::';
    out.family = six ? 'IPv6' : 'IPv4';
    out.port = this.port;
    return 0;
  }

  close(callback) {
    this.hold.released();
    if (typeof callback === 'function') process.nextTick(callback);
  }

  ref() {
    this.hold.ref();
  }
  unref() {
    this.hold.unref();
  }
  hasRef() {
    return true;
  }
  getAsyncId() {
    return 0;
  }
}

/**
 * Has the program's servers ask `claim(server, port)` before they bind. `claim` returns null to let a server really
 * bind, or what holds the process alive for it: `{ ref(), unref(), released() }`.
 */
function takeOverListen(claim) {
  const original = net.Server.prototype._listen2;
  function listen(address, port, addressType, backlog, fd, flags) {
    // A handle or a descriptor the program was given is not a wish for a new address.
    const foreign = this._handle !== null && this._handle !== undefined;
    const hold = foreign || (typeof fd === 'number' && fd >= 0) ? null : claim(this, port);
    if (hold === null) return original.call(this, address, port, addressType, backlog, fd, flags);
    // A path for a Unix socket comes as the address, with port and type -1.
    const unix = addressType === -1 && port === -1;
    this._handle = new LinkHandle(unix ? '::' : address, port > 0 ? port : MADE_UP_PORT, addressType, hold);
    if (unix) {
      // `address()` of a server on a path is the path.
      this._handle.getsockname = undefined;
    }
    if (this._unref) this.unref();
    process.nextTick(emitListening, this);
  }
  for (const { Server } of [http, https]) {
    Object.defineProperty(Server.prototype, '_listen2', { value: listen, writable: true, configurable: true });
  }
}

function emitListening(server) {
  // Closed meanwhile.
  if (server._handle) server.emit('listening');
}

module.exports = { takeOverListen };
