'use strict';
// One timer for many deadlines. A timer for each call would cost more than the call's frames: most calls end long
// before their deadline, so this wakes at the earliest one it has heard of and looks at all.

const { performance } = require('node:perf_hooks');

// An application may replace the globals, with fake timers say.
const { clearTimeout, setTimeout } = globalThis;
/** What Node's timers can hold. */
const WAIT_MAX_MS = 2 ** 31 - 1;

class Deadlines {
  /** `sweep(now)` ends what is late, and returns the next deadline, or Infinity. */
  constructor(sweep) {
    this.sweep = sweep;
    this.at = Infinity;
    this.timer = undefined;
    this.fire = () => {
      this.at = Infinity;
      this.watch(this.sweep(performance.now()));
    };
  }

  watch(deadline) {
    if (deadline >= this.at) return;
    clearTimeout(this.timer);
    this.at = deadline;
    // Whoever waits for a call holds the process by the link's socket.
    this.timer = setTimeout(this.fire, Math.min(Math.max(deadline - performance.now(), 0) + 1, WAIT_MAX_MS)).unref();
  }

  stop() {
    clearTimeout(this.timer);
    this.at = Infinity;
  }
}

module.exports = { Deadlines };
