'use strict';
// One call that this process makes, from the moment it is made until its promise settles, whatever happens to links and
// workers meanwhile.

const { performance } = require('node:perf_hooks');

const { WorkerLost, callError, errorOf } = require('./errors.js');
const { CANCEL } = require('./codes.js');
const { RemoteStream } = require('./streams.js');

/** How often a call that was lost goes to another worker. */
const RETRIES_MAX = 2;

/**
 * What a call returns: a promise, over whose result one can also iterate at once. It lacks a constructor of its own, so
 * that `await` takes the short way that it takes for native promises.
 */
class CallPromise extends Promise {
  async *[Symbol.asyncIterator]() {
    const value = await this;
    if (typeof value?.[Symbol.asyncIterator] !== 'function') throw new TypeError('the function that was called returned no stream');
    yield* value;
  }
}
delete CallPromise.prototype.constructor;

class Call {
  /** `target` or `handle` says what is called, and the other is null. */
  constructor(client, target, handle, member, flags, args, options, timeout) {
    this.client = client;
    this.target = target;
    this.handle = handle;
    this.member = member;
    this.flags = flags;
    this.args = args;
    this.kwargs = options.kwargs;
    this.signal = options.signal;
    this.sticky = options.sticky;
    // undefined: as its function is marked.
    this.idempotent = options.idempotent;
    this.timeout = timeout;
    this.deadline = timeout === 0 ? Infinity : performance.now() + timeout;
    // Its timeout is that of services in general until the broker has told its own.
    this.provisional = false;
    this.retries = 0;
    this.settled = false;
    // Of the link that it is on.
    this.link = null;
    this.stream = 0;
    this.sequence = 0;
    this.queued = false;
    this.inbox = null;
    this.resolve = null;
    this.reject = null;
    this.onAbort = undefined;
    // Where the caller awaits is where its error is made: V8 then finds the frames that led there.
    this.raise = raise;
  }

  /** The timeout of its service, from when it was made. */
  limit(timeout) {
    const made = this.deadline - this.timeout;
    this.timeout = timeout;
    this.deadline = timeout === 0 ? Infinity : made + timeout;
    this.provisional = false;
  }

  /** The promise that the caller gets. */
  promise() {
    const settled = new Promise((resolve, reject) => {
      this.resolve = resolve;
      this.reject = reject;
    });
    return Object.setPrototypeOf(settled.then(undefined, raise), CallPromise.prototype);
  }

  watchSignal() {
    const { signal } = this;
    if (signal.aborted) {
      this.fail({ reason: signal.reason });
      return false;
    }
    this.onAbort = () => {
      this.cancel();
      this.fail({ reason: signal.reason });
    };
    signal.addEventListener('abort', this.onAbort, { once: true });
    return true;
  }

  succeed(value) {
    if (this.#settle()) this.resolve(value);
  }

  /** The result is a stream, which goes on after the call has been answered. */
  streams(inbox) {
    this.inbox = inbox;
    this.deadline = Infinity;
    this.args = null;
    this.settled = true;
    this.resolve(new RemoteStream(inbox));
  }

  /** `failure` is `{ reason }`, an error as it is, or what an error is made of: `{ facts }` or `{ code, message }`. */
  fail(failure) {
    if (this.inbox !== null) {
      this.inbox.fail(failure);
      this.#forgetSignal();
    } else if (this.#settle()) this.reject(failure);
  }

  #settle() {
    if (this.settled) return false;
    this.settled = true;
    this.args = null;
    this.#forgetSignal();
    return true;
  }

  #forgetSignal() {
    if (this.onAbort === undefined) return;
    this.signal.removeEventListener('abort', this.onAbort);
    this.onAbort = undefined;
  }

  /** Tells the worker that nobody waits any more. */
  cancel() {
    if (this.link === null) this.client.forget(this);
    else this.link.cancel(this, CANCEL.UNWANTED);
  }

  /** The deadline has passed. */
  late() {
    if (this.link === null) this.client.forget(this);
    else this.link.cancel(this, CANCEL.DEADLINE);
    this.fail({ code: 'BIREME_CALL_TIMEOUT', message: `${this.name} did not answer within ${this.timeout} ms` });
  }

  /** Its link has closed. */
  lost(started) {
    const { link } = this;
    this.link = null;
    if (this.settled && this.inbox === null) return;
    // What was kept there is gone.
    if (this.sticky !== undefined) this.target?.place.service?.sticky.delete(this.sticky);
    const again = this.handle === null && this.inbox === null && this.sticky === undefined;
    if (again && (started === 'no' || (this.idempotent ?? this.target.idempotent)) && this.retries < RETRIES_MAX) {
      this.retries++;
      this.client.dispatch(this);
      return;
    }
    this.fail({ lost: started, message: lostMessage(this.name, link.name, started) });
  }

  get name() {
    const name = this.handle === null ? this.target.title : '';
    if (this.member === '') return name === '' ? 'the callback' : name;
    return name === '' ? `the method ${this.member}` : `${name}.${this.member}`;
  }
}

function lostMessage(name, worker, started) {
  const known = started === 'no' ? 'the call had not begun' : 'whether the call was done is unknown';
  return `${worker} ended during a call of ${name}; ${known}`;
}

/** Throws the error that a failure stands for. */
function raise(failure) {
  if ('reason' in failure) throw failure.reason;
  if (failure.facts !== undefined) throw errorOf(failure.facts);
  if (failure.lost !== undefined) throw new WorkerLost(failure.message, failure.lost);
  throw callError(failure.code, failure.message);
}

module.exports = { Call, raise };
