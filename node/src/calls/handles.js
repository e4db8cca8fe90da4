'use strict';
// What stays where it is: the objects that we have given to the peer of a link, and those that it has given to us; see
// "Handles" in protocol/calls.md. Both sides count, so that neither lets go of what the other still holds.

const { Released } = require('./errors.js');
const { LinkMemory } = require('./memory.js');
const { RemoteObject, kName } = require('./remote.js');

/** Where a proxy's object lives: proxy to its `Taken`. */
const homes = new WeakMap();

const forgotten = new FinalizationRegistry((taken) => taken.release());

/** One object of the peer, as long as one proxy for it lives. */
class Taken {
  constructor(handles, number) {
    this.handles = handles;
    this.number = number;
    this.times = 1;
    this.proxy = null;
    this.released = false;
  }

  /** The number for a call, or throws `Released`. */
  use() {
    if (this.released) throw new Released('this object has been released');
    if (this.handles.closed) throw new Released('the process in which this object lived has gone');
    return this.number;
  }

  release() {
    if (this.released) return;
    this.released = true;
    const { handles, number } = this;
    if (handles.taken.get(number) === this) handles.taken.delete(number);
    if (!handles.closed) handles.link.release(number, this.times);
  }
}

class Handles {
  constructor(link) {
    this.link = link;
    this.closed = false;
    // Ours, that the peer holds.
    this.given = new Map();
    this.numbers = new Map();
    this.next = 1;
    // What the message that is being written has given; taken back if it cannot be sent.
    this.journal = [];
    // Shared memory, null where the link has none.
    this.memory = null;
    // The peer's, that we hold.
    this.taken = new Map();
  }

  /** Shared memory for this link; null where there can be none. */
  useMemory() {
    this.memory = LinkMemory.of(this.link);
    return this.memory;
  }

  /** A message begins, which gives and lends nothing yet. */
  begin() {
    this.journal.length = 0;
    if (this.memory !== null) this.memory.journal.length = 0;
  }

  get empty() {
    return this.given.size === 0 && this.taken.size === 0;
  }

  give(object) {
    let number = this.numbers.get(object);
    if (number === undefined) {
      number = this.next++;
      this.numbers.set(object, number);
      this.given.set(number, { object, times: 0 });
    }
    this.given.get(number).times++;
    this.journal.push(number);
    return number;
  }

  /** The message that gave handles could not be written. */
  takeBack() {
    for (const number of this.journal) this.dropped(number, 1);
    this.journal.length = 0;
    this.memory?.takeBack();
  }

  /** The peer has let go of one of ours. False if it never had it as often. */
  dropped(number, times) {
    const given = this.given.get(number);
    if (given === undefined || given.times < times) return false;
    given.times -= times;
    if (given.times === 0) {
      this.given.delete(number);
      this.numbers.delete(given.object);
    }
    return true;
  }

  /** One of ours, by the peer's word. */
  own(number) {
    const given = this.given.get(number);
    if (given === undefined) throw new Released(`handle ${number} has been released`);
    return given.object;
  }

  /** The number of an object that came from this link's peer, or 0. */
  homeOf(value) {
    const taken = homes.get(value);
    return taken !== undefined && taken.handles === this ? taken.use() : 0;
  }

  /** What stands for an object of the peer. While one proxy for it lives, it is the same one. */
  take(number, kind, name) {
    const known = this.taken.get(number);
    const living = known?.proxy.deref();
    if (living !== undefined) {
      known.times++;
      return living;
    }
    const taken = new Taken(this, number);
    const proxy = PROXIES[kind](taken, name);
    taken.proxy = new WeakRef(proxy);
    this.taken.set(number, taken);
    homes.set(proxy, taken);
    forgotten.register(proxy, taken, taken);
    return proxy;
  }

  /** The link is over, and with it all that hung on it. */
  close() {
    this.closed = true;
    this.given.clear();
    this.numbers.clear();
    this.taken.clear();
    this.memory?.close();
    this.memory = null;
  }
}

/** Lets go of an object, function or stream of another process now, instead of when it is collected as garbage. */
function release(proxy) {
  const taken = homes.get(proxy);
  if (taken === undefined) throw new TypeError('release() takes what came from a function of another language');
  forgotten.unregister(taken);
  taken.release();
}

const callHandle = (taken, member, args, options, get) => taken.handles.link.client.callHandle(taken, member, args, options, get);

function remoteFunction(taken, name) {
  const call = (...args) => callHandle(taken, '', args);
  Object.defineProperty(call, 'name', { value: name });
  call.with = (options) => (...args) => callHandle(taken, '', args, options);
  disposable(call, call);
  return call;
}

/** An async iterable; each loop asks its owner for the items anew, which is up to the owner to allow. */
class RemoteStreamHandle {
  #taken;

  constructor(taken) {
    this.#taken = taken;
  }

  [Symbol.asyncIterator]() {
    return callHandle(this.#taken, '@iterate', [])[Symbol.asyncIterator]();
  }

  [Symbol.dispose]() {
    release(this);
  }

  async [Symbol.asyncDispose]() {
    release(this);
  }
}

/** For `using` and `await using`. */
function disposable(target, proxy) {
  Object.defineProperty(target, Symbol.dispose, { value: () => release(proxy) });
  Object.defineProperty(target, Symbol.asyncDispose, { value: async () => release(proxy) });
}

/** Names that stay JavaScript's on a RemoteObject; `then` would make a promise of it. */
const LOCAL_NAMES = new Set(['then', 'constructor', ...Object.getOwnPropertyNames(Object.prototype)]);

const objectTraps = {
  get(target, name, proxy) {
    if (typeof name === 'symbol') return Reflect.get(target, name, proxy);
    if (name === 'then') return undefined;
    if (LOCAL_NAMES.has(name)) return Reflect.get(target, name, proxy);
    return (target[kMembers][name] ??= memberOf(target[kTaken], name, proxy));
  },
  has(target, name) {
    return Reflect.has(target, name);
  },
};

const kTaken = Symbol('bireme.taken');
const kMembers = Symbol('bireme.members');
const kMember = Symbol('bireme.member');

/** A method. It keeps its object: who holds only the method holds that, too. */
function memberOf(taken, name, owner) {
  const call = (...args) => callHandle(taken, name, args);
  Object.defineProperty(call, 'name', { value: name });
  call.with = (options) => (...args) => callHandle(taken, name, args, options);
  call[kMember] = { owner, value: (options) => callHandle(taken, name, [], options, true) };
  return call;
}

function remoteObject(taken, name) {
  const target = new RemoteObject(name);
  Object.defineProperty(target, kTaken, { value: taken });
  Object.defineProperty(target, kMembers, { value: Object.create(null) });
  const proxy = new Proxy(target, objectTraps);
  disposable(target, proxy);
  return proxy;
}

const PROXIES = {
  function: remoteFunction,
  stream: (taken) => new RemoteStreamHandle(taken),
  object: remoteObject,
};

module.exports = { Handles, kMember, kName, release };
