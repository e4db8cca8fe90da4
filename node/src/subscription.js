'use strict';
// What this worker listens to: events handed to a callback, or kept until they are iterated over.

/** Bytes that wait for whoever iterates over a subscription, or for an asynchronous callback; beyond, the oldest go. */
const WAITING_BYTES_MAX = 4 * 1024 * 1024;
/** What an event costs beside its bytes. */
const EVENT_COST = 64;

/** An open subscription. */
class Subscription {
  #callback;
  #close;
  #waiting = [];
  #bytes = 0;
  #sleepers = [];
  #open = true;
  /** An asynchronous callback is at work. */
  #busy = false;

  constructor(topic, callback, close) {
    this.topic = topic;
    /** Events that went because nobody took them in time. */
    this.dropped = 0;
    this.#callback = callback;
    this.#close = close;
  }

  /** Ends it; an iteration over it ends with what has come so far. */
  close() {
    if (!this.#open) return;
    this.#open = false;
    this.#close();
    this.#wake();
  }

  /** An event has come. */
  give(event, bytes) {
    if (!this.#open) return;
    if (this.#callback !== undefined && !this.#busy) {
      this.#call(event);
      return;
    }
    this.#waiting.push({ event, cost: bytes + EVENT_COST });
    this.#bytes += bytes + EVENT_COST;
    while (this.#bytes > WAITING_BYTES_MAX && this.#waiting.length > 1) {
      this.#take();
      this.dropped++;
    }
    this.#wake();
  }

  /** What a callback throws goes where an event listener's errors go, and not into the link. One that is asynchronous gets
   * the next event when it is done with this one. */
  #call(event) {
    try {
      const returned = this.#callback(event, this.topic);
      if (typeof returned?.then !== 'function') return;
      this.#busy = true;
      const done = () => this.#goOn();
      returned.then(done, (error) => {
        done();
        throw error;
      });
    } catch (error) {
      process.nextTick(rethrow, error);
    }
  }

  #goOn() {
    this.#busy = false;
    while (this.#open && !this.#busy && this.#waiting.length > 0) {
      this.#call(this.#take());
    }
  }

  /** The oldest event that waits; there is one. */
  #take() {
    const { event, cost } = this.#waiting.shift();
    this.#bytes -= cost;
    return event;
  }

  /** Leaving the iteration ends the subscription at once, also while a `next()` waits; a generator would only do so after it. */
  [Symbol.asyncIterator]() {
    return {
      next: () => this.#next(),
      return: async () => {
        this.close();
        return { done: true, value: undefined };
      },
    };
  }

  async #next() {
    for (;;) {
      if (this.#waiting.length > 0) return { done: false, value: this.#take() };
      if (!this.#open) return { done: true, value: undefined };
      await new Promise((resolve) => this.#sleepers.push(resolve));
    }
  }

  #wake() {
    for (const wake of this.#sleepers.splice(0)) wake();
  }

  [Symbol.dispose ?? Symbol.for('Symbol.dispose')]() {
    this.close();
  }
}

function rethrow(error) {
  throw error;
}

module.exports = { Subscription };
