'use strict';
// Accepts call links in a worker, on the socket of BIREME_CALLS. What calls need is loaded when the first link comes, so
// that a worker that nobody calls starts as fast as one without.

const net = require('node:net');

const { self } = require('./environment.js');

// An application may replace the globals, with fake timers say.
const { clearInterval, clearTimeout, setInterval, setTimeout } = globalThis;

/** A peer that has connected says HELLO at once. */
const HELLO_TIMEOUT_MS = 10_000;
/** How often a worker that is to stop looks for what it holds no more. */
const COLLECT_EVERY_MS = 200;

class CallServer {
  constructor(path, token) {
    this.path = path;
    this.token = token;
    this.links = new Set();
    this.onEmpty = null;
    this.server = net.createServer((socket) => this.#accept(socket));
  }

  /** Resolves when callers can connect. Does not keep the process alive. */
  listen() {
    return new Promise((resolve, reject) => {
      this.server.once('error', reject);
      this.server.listen(this.path, () => {
        this.server.off('error', reject);
        this.server.on('error', () => {});
        resolve();
      });
      this.server.unref();
    });
  }

  /** Resolves when callers have closed their links, which they do when they hear that this worker leaves. */
  drained() {
    this.server.close();
    if (this.links.size === 0) return Promise.resolve();
    // A link stays open while we hold something of its caller's, and only a collection tells what we no longer hold.
    require('node:v8').setFlagsFromString('--expose-gc');
    const collect = require('node:vm').runInNewContext('gc');
    const timer = setInterval(collect, COLLECT_EVERY_MS).unref();
    return new Promise((resolve) => {
      this.onEmpty = () => {
        clearInterval(timer);
        resolve();
      };
    });
  }

  #accept(socket) {
    const { CallLink } = require('./link.js');
    const { theClient } = require('./client.js');
    const client = theClient();
    const timer = setTimeout(() => socket.destroy(), HELLO_TIMEOUT_MS).unref();
    const link = CallLink.accept(socket, {
      client,
      host: client.host,
      timeout: self().timeout_ms,
      messageBytesMax: self().message_bytes_max,
      onHello: (hello) => {
        clearTimeout(timer);
        return this.#isToken(hello.token);
      },
      onClose: () => {
        clearTimeout(timer);
        this.links.delete(link);
        if (this.links.size === 0) this.onEmpty?.();
      },
    });
    this.links.add(link);
  }

  #isToken(token) {
    const { timingSafeEqual } = require('node:crypto');
    const [given, own] = [Buffer.from(String(token)), Buffer.from(this.token)];
    return given.length === own.length && timingSafeEqual(given, own);
  }
}

module.exports = { CallServer };
