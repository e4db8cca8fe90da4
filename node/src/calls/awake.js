'use strict';
// Whether the event loop is kept from sleeping after a link's news, because the next ones are only microseconds away: to be
// woken by the kernel would take several times as long as a call. python/native/src/calls/awake.rs decides alike.

const { performance } = require('node:perf_hooks');

// An application may replace the global.
const { setImmediate } = globalThis;

/** Longest time without news that is spent awake, and the first step out of no patience at all. */
const MAX_MS = 0.2;
const FIRST_MS = 0.008;
/**
 * Turns of an idle loop that are further apart than this: others need the processor. It is left to them for so long, and no
 * longer, as a collection of garbage looks the same.
 */
const NEEDED_MS = 0.05;
const REST_MS = 1;

/** The patience with one link, learned from how far apart its news have been. */
class Awake {
  #news = 0;
  #turned = 0;
  #restUntil = 0;
  #patience = 0;
  #turning = false;
  #turn = () => this.#onTurn();

  /** News have come. */
  onNews() {
    const now = performance.now();
    const gap = now - this.#news;
    if (gap > MAX_MS) this.#patience = 0;
    else if (gap > this.#patience) this.#patience = Math.min(Math.max(this.#patience * 2, FIRST_MS), MAX_MS);
    this.#news = now;
    if (this.#turning || this.#patience === 0 || now < this.#restUntil) return;
    this.#turning = true;
    this.#turned = now;
    setImmediate(this.#turn);
  }

  #onTurn() {
    const now = performance.now();
    if (now - this.#turned > NEEDED_MS && now - this.#news > NEEDED_MS) {
      this.#restUntil = now + REST_MS;
      this.#turning = false;
    } else {
      this.#turning = now - this.#news < this.#patience;
    }
    this.#turned = now;
    if (this.#turning) setImmediate(this.#turn);
  }
}

module.exports = { Awake };
