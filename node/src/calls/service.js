'use strict';
// The workers of one service, as the broker tells of them: which one gets a call, and calls that wait for one. A link
// to a worker is opened when the first call goes there.

const { performance } = require('node:perf_hooks');

const { CallLink } = require('./link.js');
const memory = require('./memory.js');

/** A worker whose link broke gets no calls for so long, unless the broker tells of workers before: it may be dying. */
const SHUN_MS = 200;

const { setTimeout } = globalThis;

class Service {
  /** `client` gives what links need; `options` are RESOLVED's. */
  constructor(client, name, options) {
    this.client = client;
    this.name = name;
    this.timeout = options.timeout_ms;
    this.inFlightMax = options.in_flight_max;
    this.messageBytesMax = options.message_bytes_max;
    memory.configure(options);
    this.ended = false;
    this.workers = [];
    this.turn = 0;
    this.shunned = 0;
    // Calls that wait until a worker is ready; bounded as those under way are.
    this.waiting = new Set();
    this.sticky = new WeakMap();
  }

  /** The set of ready workers has changed: to `[{ worker, path }, …]`. */
  setWorkers(workers) {
    const before = this.workers;
    this.workers = workers.map(({ worker, path }) => {
      const known = before.find((one) => one.path === path);
      return known ?? { name: worker, path, link: null, shunnedUntil: 0 };
    });
    for (const worker of before) if (!this.workers.includes(worker)) worker.link?.leave();
    this.#serveWaiting();
  }

  /** Sends a call, or lets it wait. Its end is told to the call alone. */
  place(call) {
    if (call.settled) return;
    if (call.sticky !== undefined && this.sticky.has(call.sticky)) {
      this.#placeSticky(call);
      return;
    }
    const worker = this.#pick();
    if (worker === null) {
      this.#wait(call);
      return;
    }
    if (worker.link !== null && worker.link.inFlight >= this.inFlightMax) {
      call.fail({ code: 'BIREME_SERVICE_BUSY', message: `${this.inFlightMax} calls to every worker of ${this.name} are under way (calls.in_flight_max)` });
      return;
    }
    if (call.sticky !== undefined) this.sticky.set(call.sticky, worker);
    this.#send(worker, call);
  }

  /** State that a caller keeps in a worker is there or lost; another worker has never had it. */
  #placeSticky(call) {
    const worker = this.sticky.get(call.sticky);
    if (this.workers.includes(worker)) {
      // Its numbers are used up: the next one goes on.
      if (worker.link?.leaving) worker.link = null;
      this.#send(worker, call);
      return;
    }
    this.sticky.delete(call.sticky);
    call.fail({ lost: 'no', message: `${worker.name}, where the calls with this sticky key went, has ended; the next call begins anew` });
  }

  #send(worker, call) {
    const link = (worker.link ??= this.#connect(worker));
    try {
      link.send(call);
    } catch (error) {
      call.fail({ reason: error });
    }
  }

  #connect(worker) {
    const { client } = this;
    return CallLink.connect(worker.path, client.hello(), {
      client,
      host: client.host,
      name: worker.name,
      timeout: this.timeout,
      messageBytesMax: this.messageBytesMax,
      onClose: (link) => this.#linkClosed(worker, link),
    });
  }

  #linkClosed(worker, link) {
    if (worker.link !== link) return;
    worker.link = null;
    if (link.leaving || !this.workers.includes(worker)) return;
    worker.shunnedUntil = performance.now() + SHUN_MS;
    this.shunned++;
    setTimeout(() => {
      this.shunned--;
      this.#serveWaiting();
    }, SHUN_MS + 1).unref();
  }

  /** The worker with the fewest calls of ours under way; among equals they take turns. */
  #pick() {
    const { workers } = this;
    const now = this.shunned > 0 ? performance.now() : 0;
    let best = null;
    let least = Infinity;
    const first = this.turn++;
    for (let i = 0; i < workers.length; i++) {
      const worker = workers[(first + i) % workers.length];
      const { link } = worker;
      if (link !== null && link.leaving) worker.link = null;
      if (this.shunned > 0 && worker.shunnedUntil > now) continue;
      const load = worker.link === null ? 0 : link.inFlight;
      if (load < least) {
        best = worker;
        least = load;
      }
    }
    return best;
  }

  #wait(call) {
    if (this.waiting.size >= this.inFlightMax) {
      call.fail({ code: 'BIREME_SERVICE_BUSY', message: `${this.inFlightMax} calls wait for a worker of ${this.name} (calls.in_flight_max)` });
      return;
    }
    this.waiting.add(call);
    this.client.waits(call);
  }

  /** The call has ended while it waited. */
  forget(call) {
    if (this.waiting.delete(call)) this.client.waitsNoMore(call);
  }

  #serveWaiting() {
    if (this.waiting.size === 0 || this.workers.length === 0) return;
    const calls = [...this.waiting];
    this.waiting.clear();
    for (const call of calls) {
      this.client.waitsNoMore(call);
      this.place(call);
    }
  }

  /** The broker is gone; nobody will tell of workers any more. */
  end(failure) {
    this.ended = true;
    for (const call of [...this.waiting]) {
      this.forget(call);
      call.fail(failure);
    }
  }
}

module.exports = { Service };
