'use strict';
// The calls that this process makes: which service a file or module belongs to is asked once, and each call goes to one
// of its workers. Nothing is opened before the first call, and nothing that is idle keeps the process alive.

const { BrokerLink, findBroker } = require('./broker.js');
const { Call } = require('./call.js');
const { FLAG } = require('./codes.js');
const { Deadlines } = require('./deadlines.js');
const { Service } = require('./service.js');
const { Host } = require('./target.js');

/** Deadline of calls before the broker has told that of their service. */
const TIMEOUT_MS = 30_000;
const TIMEOUT_MAX_MS = 0xffff_ffff;
const NO_OPTIONS = Object.freeze({});

/** A file or module of the other language, and the service that the broker named for it. */
class Place {
  constructor(question, options) {
    this.question = question;
    this.options = options;
    this.service = null;
    this.resolving = null;
  }
}

/** Something callable in a place. */
class Target {
  constructor(place, name) {
    this.place = place;
    this.file = place.question.file;
    this.module = place.question.module;
    this.name = name;
    // Its BIND's number on each link.
    this.numbers = new WeakMap();
    // What a worker has said of it by MARK.
    this.idempotent = false;
  }

  get title() {
    const place = this.file ?? this.module;
    return this.name === '' ? place : `${this.name} of ${place}`;
  }
}

class Client {
  constructor(env, self) {
    this.env = env;
    this.from = env.BIREME_WORKER ?? `${self.service ?? 'node'}:${process.pid}`;
    this.host = new Host(self.root ?? process.cwd());
    this.broker = null;
    this.services = new Map();
    this.token = '';
    this.waiting = new Set();
    // Open links, of both kinds.
    this.links = new Set();
    this.places = new Map();
    this.deadlines = new Deadlines((now) => this.#sweep(now));
  }

  hello() {
    return { token: this.token, link: 'call', from: this.from, pid: process.pid, language: 'node' };
  }

  /** `question` is RESOLVE's: `{ language, file }` or `{ language, module }`, perhaps with a `service`. */
  place(question, options = NO_OPTIONS) {
    checkOptions(options);
    if (options !== NO_OPTIONS) return new Place(question, options);
    const key = JSON.stringify(question);
    let place = this.places.get(key);
    if (place === undefined) this.places.set(key, (place = new Place(question, options)));
    return place;
  }

  target(place, name) {
    return new Target(place, name);
  }

  /** Makes a call; returns its promise. `kind` is 0, `FLAG.GET` or `FLAG.NEW`. */
  call(target, args, options, kind) {
    const chosen = options ?? NO_OPTIONS;
    const { service, options: general } = target.place;
    const timeout = chosen.timeout ?? general.timeout ?? service?.timeout;
    const idempotent = chosen.idempotent ?? general.idempotent;
    const call = new Call(this, target, null, '', idempotent === true ? kind | FLAG.IDEMPOTENT : kind, args, chosen, timeout ?? TIMEOUT_MS);
    call.provisional = timeout === undefined;
    call.idempotent = idempotent;
    const promise = call.promise();
    if (call.signal !== undefined && !call.watchSignal()) return promise;
    this.dispatch(call);
    return promise;
  }

  /** A call of something that the peer of a link has given to us. */
  callHandle(taken, member, args, options = NO_OPTIONS, get = false) {
    checkOptions(options);
    const { link } = taken.handles;
    const flags = FLAG.HANDLE | (get ? FLAG.GET : 0) | (options.idempotent === true ? FLAG.IDEMPOTENT : 0);
    const call = new Call(this, null, taken, member, flags, args, options, options.timeout ?? link.timeout);
    const promise = call.promise();
    if (call.signal !== undefined && !call.watchSignal()) return promise;
    try {
      link.send(call);
    } catch (error) {
      call.fail({ reason: error });
    }
    return promise;
  }

  /** Sends a call to a worker of its service, once that is known. */
  dispatch(call) {
    const { place } = call.target;
    if (place.service?.ended === false) {
      place.service.place(call);
      return;
    }
    this.waits(call);
    place.resolving ??= this.#resolve(place).finally(() => {
      place.resolving = null;
    });
    place.resolving.then(
      (service) => {
        if (!this.waitsNoMore(call)) return;
        if (call.provisional) call.limit(service.timeout);
        service.place(call);
      },
      (error) => {
        if (this.waitsNoMore(call)) call.fail({ code: error.code, message: error.message });
      },
    );
  }

  async #resolve(place) {
    const broker = await this.#connected();
    const { service: name, workers, options } = await broker.resolve(place.question);
    let service = this.services.get(name);
    if (service === undefined) this.services.set(name, (service = new Service(this, name, options)));
    place.service = service;
    service.setWorkers(workers);
    return service;
  }

  async #connected() {
    if (this.broker !== null && !this.broker.closed) return this.broker;
    this.finding ??= findBroker(this.env).finally(() => {
      this.finding = null;
    });
    const found = await this.finding;
    if (this.broker === null || this.broker.closed) {
      this.token = found.token;
      this.broker = new BrokerLink(found, this.from, {
        onPeers: (name, workers) => this.services.get(name)?.setWorkers(workers),
        onClose: () => this.#brokerGone(),
      });
    }
    return this.broker;
  }

  /** Links to workers live on; who waits for workers learns that none will come. */
  #brokerGone() {
    const failure = { code: 'BIREME_NO_BROKER', message: 'the broker has gone, and nobody starts workers any more' };
    for (const service of this.services.values()) service.end(failure);
    this.services.clear();
  }

  /** How much is under way, for tests and reports: calls by us and of us, and what either side holds of the other. */
  counts() {
    const counts = { links: this.links.size, waiting: this.waiting.size, outgoing: 0, incoming: 0, given: 0, held: 0 };
    for (const { calls, incoming, handles } of this.links) {
      counts.outgoing += calls.size;
      counts.incoming += incoming.size;
      counts.given += handles.given.size;
      counts.held += handles.taken.size;
    }
    return counts;
  }

  // Calls on no link yet.

  waits(call) {
    this.waiting.add(call);
    this.broker?.hold();
    call.holdsBroker = this.broker;
    if (call.deadline !== Infinity) this.deadlines.watch(call.deadline);
  }

  /** False if it was over already. */
  waitsNoMore(call) {
    if (!this.waiting.delete(call)) return false;
    call.holdsBroker?.letGo();
    return true;
  }

  /** A call that waits is over: cancelled or late. */
  forget(call) {
    call.target?.place.service?.forget(call);
    this.waitsNoMore(call);
  }

  #sweep(now) {
    let next = Infinity;
    for (const call of this.waiting) {
      if (call.deadline <= now) call.late();
      else if (call.deadline < next) next = call.deadline;
    }
    return next;
  }
}

const OPTIONS = new Map([
  ['timeout', (value) => (Number.isFinite(value) && value >= 0 && value <= TIMEOUT_MAX_MS) || 'a number of milliseconds, 0 for none'],
  ['signal', (value) => value instanceof AbortSignal || 'an AbortSignal'],
  ['kwargs', (value) => (typeof value === 'object' && value !== null && !Array.isArray(value)) || 'an object of keyword arguments'],
  ['idempotent', (value) => typeof value === 'boolean' || 'a boolean'],
  ['sticky', (value) => (typeof value === 'object' && value !== null) || 'an object, which stands for the state to stay with'],
  ['service', (value) => typeof value === 'string' || "a service's name"],
]);

/** Throws `TypeError` for an option that does not exist or is not what it must be. */
function checkOptions(options) {
  if (options === NO_OPTIONS) return;
  if (typeof options !== 'object' || options === null) throw new TypeError(`the options of a call are an object, not ${options}`);
  for (const key of Object.keys(options)) {
    const check = OPTIONS.get(key);
    if (check === undefined) throw new TypeError(`a call has no option "${key}"; it has ${[...OPTIONS.keys()].join(', ')}`);
    const fits = options[key] === undefined || check(options[key]);
    if (fits !== true) throw new TypeError(`the option "${key}" of a call must be ${fits}`);
  }
}

let client = null;

/** The one of this process (or thread). */
function theClient() {
  client ??= new Client(process.env, require('./environment.js').self());
  return client;
}

module.exports = { Client, checkOptions, theClient };
