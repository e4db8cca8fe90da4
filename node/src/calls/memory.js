'use strict';
// Shared memory of calls: what large arrays lie in while they cross, and what `bireme.shared` makes; see "Shared memory"
// in protocol/calls.md. The add-on that maps it is loaded by the first call link, or by `bireme.shared`.

const { ProtocolError } = require('../errors.js');
const { self } = require('./environment.js');
const { CannotCross, Released, SharedMemoryFull } = require('./errors.js');

const BYTES_MIN = 65_536;

const TYPED_ARRAYS = new Set([
  Int8Array, Uint8Array, Uint8ClampedArray, Int16Array, Uint16Array, Int32Array, Uint32Array, BigInt64Array, BigUint64Array,
  Float32Array, Float64Array, Buffer,
]);
if (globalThis.Float16Array !== undefined) TYPED_ARRAYS.add(globalThis.Float16Array);

let addon;
let missing = '';
let bytesMin = BYTES_MIN;
/** Accounts of open links. */
const accounts = new Set();
/** The memory of each ArrayBuffer that both sides see; null once released. */
const memories = new WeakMap();
/** ArrayBuffers over memory that the other side has lent for us alone. */
const lent = new WeakSet();
/** Whether there has ever been any of the two: most programs never ask for a buffer's memory. */
let any = false;
/** Where the add-on writes a reference. */
const numbers = new Float64Array(7);

/** The add-on, or null where it does not load. */
function native() {
  if (addon === undefined) {
    try {
      addon = require('../native.node');
      addon.onReturns(sendReturns);
      configure(self());
    } catch (error) {
      addon = null;
      missing = error.message;
    }
  }
  return addon;
}

/** Takes the limits of BIREME_SELF or of RESOLVED. */
function configure({ shared_bytes_min: least, shared_bytes_max: most }) {
  if (least !== undefined) bytesMin = least === 0 ? Infinity : least;
  if (most !== undefined && native() !== null) addon.configure(most);
}

function sendReturns() {
  for (const account of accounts) account.sendReturns();
}

/** What one link knows of shared memory. `link` writes its frames. */
class LinkMemory {
  constructor(link, account) {
    this.link = link;
    this.account = account;
    // Whether the other side can open what is ours.
    this.lends = false;
    // Leases of the message that is being written; taken back if it cannot be sent.
    this.journal = [];
    accounts.add(this);
  }

  /** Null where there can be none. */
  static of(link) {
    return native() === null ? null : new LinkMemory(link, new addon.Link());
  }

  /** HELLO's `memory`, or undefined when the system gives none. */
  sample() {
    try {
      const [pid, descriptor, id, bytes] = this.account.sample();
      return { pid, descriptor, id, bytes };
    } catch {
      return undefined;
    }
  }

  /** Whether the other side's sample can be opened here. */
  canOpen(sample) {
    if (typeof sample !== 'object' || sample === null) return false;
    const { pid, descriptor, id, bytes } = sample;
    return [pid, descriptor, id, bytes].every(Number.isSafeInteger) && this.account.canOpen(pid, descriptor, id, bytes);
  }

  /** Lends the memory of a view. The numbers of the reference, valid until the next; null: it goes inline. */
  lend(view) {
    const memory = any ? memories.get(view.buffer) : undefined;
    if (memory === undefined && view.byteLength < bytesMin) return null;
    if (memory === null) throw released();
    if (!this.lends) return null;
    let count = 0;
    if (memory !== undefined) count = this.account.lend(memory, view.byteOffset, view.byteLength, numbers);
    else if (this.account.copy(new Uint8Array(view.buffer, view.byteOffset, view.byteLength), numbers)) count = 7;
    if (count === 0) return null;
    if (count === 7) this.journal.push(numbers[0]);
    return { count, numbers, shared: memory !== undefined };
  }

  takeBack() {
    for (const lease of this.journal) this.account.takeBack(lease);
    this.journal.length = 0;
  }

  /** An ArrayBuffer over memory of a reference, of the items of tag 39004. */
  borrow(reference) {
    try {
      const [lease, ...place] = reference;
      if (reference.length === 3) return adopt(this.account.home(lease, ...place));
      const shared = place.pop();
      if (shared) return adopt(this.account.borrowShared(lease, ...place));
      const buffer = this.account.borrow(lease, ...place);
      any = true;
      lent.add(buffer);
      return buffer;
    } catch (error) {
      if (error.code === 'InvalidArg') throw new ProtocolError(error.message);
      throw new CannotCross(`an array cannot be had: ${error.message}`);
    }
  }

  onReturn(payload) {
    const ids = this.#checked(() => this.account.onReturn(payload));
    if (ids !== null) this.link.output.forgets(ids);
  }

  onForget(payload) {
    this.#checked(() => this.account.onForget(payload));
  }

  #checked(take) {
    try {
      return take();
    } catch (error) {
      throw new ProtocolError(error.message);
    }
  }

  sendReturns() {
    const leases = this.account.returns();
    if (leases !== null) this.link.output.returns(leases);
  }

  close() {
    accounts.delete(this);
    this.account.close();
  }
}

function released() {
  return new Released('this array has been released');
}

/** Throws if a view's memory has been released: it looks like an array of no elements, and must not cross as one. */
function checkReleased(view) {
  if (any && memories.get(view.buffer) === null) throw released();
  return null;
}

/** The ArrayBuffer over a memory, and the way back from it. */
function adopt(memory) {
  const buffer = memory.buffer();
  any = true;
  memories.set(buffer, memory);
  return buffer;
}

/** Whether both sides see the memory of an ArrayBuffer. */
const isShared = (buffer) => any && memories.has(buffer);

/** Gives an array over shared memory its `release`, and what `using` calls. */
function releasable(array) {
  const value = () => release(array);
  return Object.defineProperties(array, { release: { value }, [Symbol.dispose]: { value } });
}

/**
 * An array of zeros, of the class of a typed array, that crosses without a copy: both sides see what the other writes. Its memory
 * lasts until neither has an array over it, or until `release()`. Throws `SharedMemoryFull` when there is no room.
 */
function shared(Class, length) {
  if (!TYPED_ARRAYS.has(Class)) throw new TypeError('shared() takes the class of a typed array, such as Float64Array, and a length');
  if (!Number.isSafeInteger(length) || length < 0) throw new RangeError(`shared() takes a length, not ${length}`);
  if (native() === null) throw new SharedMemoryFull(`no shared memory here: ${missing}`);
  let buffer;
  try {
    buffer = adopt(addon.Memory.allocate(Math.max(1, length) * (Class.BYTES_PER_ELEMENT ?? 1)));
  } catch (error) {
    throw new SharedMemoryFull(error.message);
  }
  return releasable(Class === Buffer ? Buffer.from(buffer, 0, length) : new Class(buffer, 0, length));
}

/** Lets go of an array's memory now, instead of when it is collected as garbage. The array has no elements any more. */
function release(array) {
  const { buffer } = array;
  const memory = memories.get(buffer);
  if (memory === null) return;
  if (memory === undefined && !lent.has(buffer)) throw new TypeError('release() takes an array that shared() made or that came by a call in shared memory');
  memory?.release();
  memories.set(buffer, null);
  addon.detach(buffer);
}

module.exports = { LinkMemory, checkReleased, configure, isShared, releasable, release, shared };
