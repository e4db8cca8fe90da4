'use strict';
// A call of the peer: its function is found, run, and answered exactly once. An error in it is an answer, too; it never
// reaches the process.

const { performance } = require('node:perf_hooks');

const { ProtocolError, describe } = require('../errors.js');
const { CANCEL, FLAG } = require('./codes.js');
const { CallError, callError } = require('./errors.js');
const { readArguments } = require('./read.js');

/** The call whose function is running, up to its first `await`. */
let current = null;

/**
 * The `AbortSignal` of the call that runs: aborted when the caller cancels it, its deadline passes or its process
 * ends. To be asked for before the function's first `await`.
 */
function signal() {
  if (current === null) throw new Error('signal() is for a function that is being called from another process, before its first await');
  return current.signal;
}

class Incoming {
  constructor(link, stream, flags, target, timeout) {
    this.link = link;
    this.stream = stream;
    this.flags = flags;
    this.target = target;
    this.timeout = timeout;
    this.deadline = timeout === 0 ? Infinity : performance.now() + timeout;
    this.member = '';
    this.args = null;
    this.settled = false;
    this.controller = null;
    this.producer = null;
  }

  get signal() {
    this.controller ??= new AbortController();
    return this.controller.signal;
  }

  /** Reads the arguments and runs. Throws `ProtocolError`. */
  begin(buffer, start, end) {
    try {
      const { args, kwargs } = readArguments(buffer, start, end, this.link.handles, (this.flags & FLAG.KWARGS) !== 0);
      // What JavaScript has for keywords is a last object.
      if (kwargs !== undefined) args.push(kwargs);
      this.args = args;
      if ((this.flags & FLAG.HANDLE) !== 0) {
        this.#run(this.link.handles.own(this.target), undefined);
        return;
      }
    } catch (error) {
      if (error instanceof ProtocolError) throw error;
      this.fail(error);
      return;
    }
    const bound = this.link.bound.get(this.target);
    if (bound === undefined) throw new ProtocolError(`a CALL of target ${this.target}, never bound`);
    if (bound.loaded) this.#runBound(bound);
    else this.#load(bound);
  }

  /** The first call of a module waits for it to load. */
  async #load(bound) {
    this.link.output.queued(this.stream);
    try {
      await bound.load();
    } catch (error) {
      this.fail(error);
      return;
    }
    if (this.settled) return;
    this.link.output.started(this.stream);
    this.#runBound(bound);
  }

  #runBound(bound) {
    // Here, and not at its BIND or when this link loads it: a call on another link may have.
    if (this.link.unmarked.size > 0) this.link.mark(this.target, bound);
    let value;
    try {
      value = bound.value();
    } catch (error) {
      this.fail(error);
      return;
    }
    this.#run(value, bound.owner);
  }

  #run(object, owner) {
    const before = current;
    current = this;
    try {
      const answer = this.#evaluate(object, owner);
      if (answer !== null && typeof answer === 'object' && typeof answer.then === 'function') {
        answer.then(
          (value) => this.#answer(value),
          (error) => this.fail(error),
        );
      } else {
        this.#answer(answer);
      }
    } catch (error) {
      this.fail(error);
    } finally {
      current = before;
    }
  }

  #evaluate(object, owner) {
    const { member, flags, args } = this;
    if (member === '@iterate') return iterator(object);
    let receiver = owner;
    let value = object;
    if (member !== '') {
      if (object === null || object === undefined) throw new TypeError(`there is no "${member}" of ${object}`);
      receiver = object;
      value = object[member];
      if (value === undefined && !(member in Object(object))) {
        throw callError('BIREME_NOT_FOUND', `${object.constructor?.name ?? 'the object'} has no "${member}"`);
      }
    }
    if ((flags & FLAG.GET) !== 0) return value;
    if (typeof value !== 'function') throw new TypeError(`${member || 'what is called'} is ${value === null ? 'null' : `a ${typeof value}`}, not a function`);
    if ((flags & FLAG.NEW) !== 0) return isConstructor(value) ? Reflect.construct(value, args) : Reflect.apply(value, receiver, args);
    return Reflect.apply(value, receiver, args);
  }

  #answer(value) {
    if (this.settled) {
      if (isIterator(value)) this.#drop(value);
      return;
    }
    const { stream, flags } = this;
    const { output } = this.link;
    try {
      if ((flags & FLAG.NEW) !== 0) output.result(stream, value, true);
      else if ((flags & FLAG.GET) === 0 && isIterator(value)) {
        this.#stream(value);
        return;
      } else output.result(stream, value, false);
    } catch (error) {
      this.fail(error);
      return;
    }
    this.#settle();
  }

  /** Ends an iterator that nobody will read. */
  async #drop(value) {
    try {
      await value.return?.();
    } catch (error) {
      this.unheard(error);
    }
  }

  #stream(value) {
    const { Producer } = require('./streams.js');
    this.link.output.streamBegins(this.stream);
    // From here on the consumer says when it ends.
    this.deadline = Infinity;
    this.producer = new Producer(this, iterator(value));
    this.producer.run();
  }

  /** One step of the stream's iterator, whose code may ask for `signal()`. */
  next(iterator) {
    const before = current;
    current = this;
    try {
      return iterator.next();
    } finally {
      current = before;
    }
  }

  /** The stream has been sent to its end. */
  over() {
    this.#settle();
  }

  fail(error) {
    if (this.settled) {
      this.unheard(error);
      return;
    }
    this.link.output.error(this.stream, error);
    this.#settle();
  }

  #settle() {
    this.settled = true;
    this.args = null;
    this.link.answered(this);
  }

  /** Nobody waits for this error any more; that the caller has gone is none. */
  unheard(error) {
    if (this.controller?.signal.aborted && (error === this.controller.signal.reason || error?.name === 'AbortError')) return;
    if (error instanceof CallError) return;
    process.stderr.write(`bireme: a function failed after its call from ${this.link.name} was over: ${describe(error)}\n`);
  }

  cancelled(why) {
    this.#stop(why === CANCEL.DEADLINE ? 'BIREME_CALL_TIMEOUT' : 'BIREME_CALL_CANCELLED', why === CANCEL.DEADLINE ? 'the deadline of the call passed' : 'the caller cancelled the call');
  }

  late() {
    this.#stop('BIREME_CALL_TIMEOUT', `${this.#name} did not answer within ${this.timeout} ms`);
  }

  get #name() {
    const bound = (this.flags & FLAG.HANDLE) === 0 ? this.link.bound.get(this.target) : undefined;
    return bound === undefined ? this.member || 'the callback' : bound.title;
  }

  #stop(code, message) {
    if (this.settled) return;
    const error = callError(code, message);
    const { producer } = this;
    this.fail(error);
    producer?.cancel();
    this.controller?.abort(error);
  }

  /** The link is over: nobody can be answered. */
  lost() {
    if (this.settled) return;
    this.settled = true;
    this.producer?.cancel();
    this.controller?.abort(callError('BIREME_CALL_CANCELLED', 'the process that called has gone'));
  }
}

function isConstructor(value) {
  try {
    Reflect.construct(Object, [], value);
    return true;
  } catch {
    return false;
  }
}

/** What is sent item by item: async iterables, and iterators such as generators make; not arrays and the like. */
function isIterator(value) {
  if (value === null || typeof value !== 'object') return false;
  if (typeof value[Symbol.asyncIterator] === 'function') return true;
  return typeof value.next === 'function' && typeof value[Symbol.iterator] === 'function';
}

function iterator(value) {
  if (typeof value[Symbol.asyncIterator] === 'function') return value[Symbol.asyncIterator]();
  if (typeof value[Symbol.iterator] === 'function') return value[Symbol.iterator]();
  throw new TypeError('the object cannot be iterated over');
}

module.exports = { Incoming, signal };
