'use strict';
// A call link: calls, results, streams and handles between two processes. After HELLO both ends are alike; see "Call
// links" in protocol/calls.md. Which worker a call goes to, and what a call runs, is not known here.

const net = require('node:net');
const { performance } = require('node:perf_hooks');

const { FrameReader, TYPE, VERSION } = require('../frames.js');
const { ProtocolError, summarize } = require('../errors.js');
const { Awake } = require('./awake.js');
const { CANCEL, FLAG, ITEM_FLAG, MARK } = require('./codes.js');
const { Deadlines } = require('./deadlines.js');
const { callError } = require('./errors.js');
const { Handles } = require('./handles.js');
const { Incoming } = require('./incoming.js');
const { Assemblies } = require('./messages.js');
const { Output } = require('./output.js');
const { readFacts, readValue } = require('./read.js');
const { Inbox } = require('./streams.js');

// An application may replace the globals, with fake timers say.
const { clearTimeout, setTimeout } = globalThis;

const READ_BYTES = 131_072;
/** Calls of the peer that run at once on one link. Its own `in_flight_max` is what keeps it from this. */
const INCOMING_MAX = 65_536;
/** Where nobody has said another limit: a worker that was started by hand. */
const MESSAGE_BYTES_MAX = 67_108_864;
const TIMEOUT_MS = 30_000;
/** Calls wait so long until both sides know whether memory can be shared. A worker that is busy for longer gets copies. */
const MEMORY_TIMEOUT_MS = 1000;
const STREAM_MAX = 0xffff_ffff;

class CallLink {
  /**
   * `client` makes calls by handles for us; `host` runs what the peer calls; `first` is our first stream: 1 for who
   * connected, 2 for who accepted. `timeout` is that of calls by handles that do not say their own, in ms.
   */
  constructor(socket, { client, host, first, name, timeout = TIMEOUT_MS, messageBytesMax = MESSAGE_BYTES_MAX, onClose }) {
    this.socket = socket;
    this.client = client;
    this.host = host;
    this.name = name;
    this.timeout = timeout;
    this.onClose = onClose;
    // Checks the first frame, where we accepted.
    this.onHello = null;
    this.handles = new Handles(this);
    // Our HELLO has offered memory, and MEMORY has not come.
    this.offers = false;
    // Calls that wait until both sides know whether memory can be shared; null when they wait no more.
    this.early = null;
    this.earlyTimer = undefined;
    this.output = new Output(socket, this.handles, messageBytesMax);
    this.reader = new FrameReader((...frame) => this.#onFrame(...frame));
    this.nextStream = first;
    this.peerParity = first === 1 ? 0 : 1;
    this.lastPeerStream = 0;
    this.calls = new Map();
    this.incoming = new Map();
    this.assemblies = new Assemblies(messageBytesMax);
    // Targets of the peer's calls by its numbers, and of ours by our numbers.
    this.bound = new Map();
    this.bindings = [];
    // Numbers of `bound` that have not been called on this link: their MARK is still to be said.
    this.unmarked = new Set();
    this.connected = !socket.connecting;
    this.closed = false;
    this.leaving = false;
    this.inFlight = 0;
    this.awake = new Awake();
    this.holders = 0;
    this.deadlines = new Deadlines((now) => this.#sweep(now));
    client.links.add(this);
    socket.once('connect', () => {
      this.connected = true;
    });
    socket.on('error', (error) => {
      this.failure = error;
    });
    socket.on('close', () => this.#onClosed());
  }

  /** Connects to the worker at `path`; frames may be written at once. */
  static connect(path, hello, settings) {
    const buffer = Buffer.allocUnsafeSlow(READ_BYTES);
    let link = null;
    const socket = net.connect({ path, onread: { buffer, callback: (length) => link.onRead(buffer, length) } });
    socket.unref();
    link = new CallLink(socket, { ...settings, first: 1 });
    const memory = link.handles.useMemory()?.sample();
    if (memory !== undefined) link.#offer();
    link.output.hello({ ...hello, memory });
    return link;
  }

  /** Takes a connection over. `onHello(hello)` says whether its HELLO will do. */
  static accept(socket, { onHello, ...settings }) {
    const link = new CallLink(socket, { ...settings, first: 2, name: 'a caller' });
    link.onHello = onHello;
    socket.unref();
    socket.on('data', (bytes) => link.onRead(bytes, bytes.length));
    return link;
  }

  #offer() {
    this.offers = true;
    this.early = [];
    this.earlyTimer = setTimeout(() => this.#sendEarly(), MEMORY_TIMEOUT_MS).unref();
  }

  // Our calls.

  /** Writes a CALL, its BIND before it if need be. Throws `CannotCross`, and then no CALL has been written. */
  send(call) {
    if (this.early !== null) {
      this.early.push(call);
      this.inFlight++;
      this.hold();
      this.client.waits(call);
      return;
    }
    const target = call.handle === null ? this.#bind(call.target) : call.handle.use();
    call.sequence = this.output.call(this.nextStream, target, call);
    call.link = this;
    call.stream = this.nextStream;
    call.queued = false;
    this.nextStream += 2;
    this.inFlight++;
    this.calls.set(call.stream, call);
    this.hold();
    if (call.deadline !== Infinity) this.deadlines.watch(call.deadline);
    // Numbers are never used again.
    if (this.nextStream > STREAM_MAX) this.leave();
  }

  /** The number of a target on this link. */
  #bind(target) {
    let number = target.numbers.get(this);
    if (number !== undefined) return number;
    number = this.bindings.push(target);
    this.output.bind(number, target);
    target.numbers.set(this, number);
    return number;
  }

  /** The caller does not want the answer any more. */
  cancel(call, why) {
    if (this.closed || !this.calls.has(call.stream)) return;
    this.#over(call);
    this.output.cancel(call.stream, why);
  }

  #ended(call) {
    this.calls.delete(call.stream);
    this.inFlight--;
    this.letGo();
    if (this.leaving) this.#leaveIfIdle();
  }

  /** We hold an object of the peer no more, which had come so many times. */
  release(number, times) {
    this.output.release(number, times);
    if (this.leaving) this.#leaveIfIdle();
  }

  // The peer's calls.

  /** What the caller must know of a target before it runs, for that may end this process; said once. */
  mark(number, bound) {
    if (this.unmarked.delete(number) && bound.idempotent) this.output.mark(number);
  }

  /** An answer has been given, or will not be. */
  answered(incoming) {
    this.incoming.delete(incoming.stream);
    if (this.leaving) this.#leaveIfIdle();
  }

  // Shared memory.

  #onMemory(aux, buffer, start, end) {
    const { memory } = this.handles;
    memory.lends = aux === 1;
    if (!this.offers) return;
    this.offers = false;
    const sample = end > start ? readValue(buffer, start, end, null) : undefined;
    this.output.memory(memory.canOpen(sample), undefined);
    this.#sendEarly();
  }

  #sendEarly() {
    const { early } = this;
    if (early === null) return;
    this.early = null;
    clearTimeout(this.earlyTimer);
    for (const call of early) {
      this.inFlight--;
      this.letGo();
      if (!this.client.waitsNoMore(call)) continue;
      try {
        this.send(call);
      } catch (error) {
        call.fail({ reason: error });
      }
    }
    if (this.leaving) this.#leaveIfIdle();
  }

  // The socket.

  /** Keeps the process alive while something is awaited here. */
  hold() {
    if (this.holders++ === 0) this.socket.ref();
  }

  letGo() {
    if (--this.holders === 0) this.socket.unref();
  }

  /** No new calls; closes when nothing is under way and neither side holds anything of the other. */
  leave() {
    this.leaving = true;
    this.#leaveIfIdle();
  }

  #leaveIfIdle() {
    if (this.calls.size > 0 || this.incoming.size > 0 || !this.handles.empty || this.closed || this.early?.length > 0) return;
    this.output.end();
  }

  onRead(buffer, length) {
    try {
      this.reader.read(buffer, length);
    } catch (error) {
      this.fail(error);
      return false;
    }
    // Now that they have been served: the time that a function took is not one in which others needed the processor.
    this.awake.onNews();
    return true;
  }

  /** The peer broke the protocol, or we did. */
  fail(error) {
    const what = error instanceof ProtocolError ? `the peer sent ${error.message}` : summarize(error);
    process.stderr.write(`bireme: the call link with ${this.name} was closed: ${what}\n`);
    this.failure = error;
    this.socket.destroy();
  }

  #onClosed() {
    if (this.closed) return;
    this.closed = true;
    this.output.close();
    this.client.links.delete(this);
    this.deadlines.stop();
    clearTimeout(this.earlyTimer);
    this.handles.close();
    const calls = [...this.calls.values()];
    const early = this.early ?? [];
    this.early = null;
    this.calls.clear();
    for (const incoming of [...this.incoming.values()]) incoming.lost();
    this.incoming.clear();
    this.assemblies.clear();
    this.onClose?.(this);
    for (const call of calls) {
      this.inFlight--;
      const unsent = !this.connected || call.sequence === this.output.flushes;
      call.lost(unsent || call.queued ? 'no' : 'unknown');
    }
    for (const call of early) {
      this.inFlight--;
      if (!this.client.waitsNoMore(call)) continue;
      call.link = this;
      call.lost('no');
    }
  }

  #sweep(now) {
    let next = Infinity;
    for (const calls of [this.calls, this.incoming]) {
      for (const call of calls.values()) {
        if (call.deadline <= now) call.late();
        else if (call.deadline < next) next = call.deadline;
      }
    }
    return next;
  }

  // Frames.

  #onFrame(type, flags, stream, aux, buffer, start, end) {
    if (this.onHello !== null) {
      this.#greet(type, stream, aux, buffer, start, end);
      return;
    }
    switch (type) {
      case TYPE.RESULT:
      case TYPE.ERROR:
      case TYPE.CALL:
        if (type === TYPE.CALL) this.#admit(stream);
        if ((flags & FLAG.END) === 0) this.#beginMessage(type, flags, stream, buffer, start, end);
        else this.#onMessage(type, flags, stream, buffer, start, end);
        break;
      case TYPE.ITEM:
        if ((flags & ITEM_FLAG.PART) !== 0) this.#beginMessage(type, 0, stream, buffer, start, end);
        else this.#onMessage(type, flags, stream, buffer, start, end);
        break;
      case TYPE.DATA: {
        const whole = this.assemblies.goOn((flags & FLAG.END) !== 0, stream, buffer.subarray(start, end));
        if (whole !== null) this.#onMessage(whole.type, whole.flags, stream, whole.payload, 0, whole.payload.length);
        break;
      }
      case TYPE.CREDIT:
        this.#onCredit(stream, buffer, start, end);
        break;
      case TYPE.CANCEL:
        this.#theirs(stream)?.cancelled(aux);
        break;
      case TYPE.QUEUED:
      case TYPE.STARTED: {
        const call = this.#ours(stream);
        if (call !== undefined) call.queued = type === TYPE.QUEUED;
        break;
      }
      case TYPE.RELEASE:
        this.#onRelease(buffer, start, end);
        break;
      case TYPE.BIND:
        this.#onBind(buffer, start, end);
        break;
      case TYPE.MARK:
        this.#onMark(buffer, start, end);
        break;
      case TYPE.MEMORY:
      case TYPE.RETURN:
      case TYPE.FORGET:
        if (this.handles.memory === null || stream !== 0) throw new ProtocolError('a frame about shared memory, of which there is none');
        if (type === TYPE.MEMORY) this.#onMemory(aux, buffer, start, end);
        else if (type === TYPE.RETURN) this.handles.memory.onReturn(buffer.subarray(start, end));
        else this.handles.memory.onForget(buffer.subarray(start, end));
        break;
      default:
        throw new ProtocolError(`frame type ${type} on a call link`);
    }
  }

  /** The first frame of who connected. */
  #greet(type, stream, aux, buffer, start, end) {
    if (type !== TYPE.HELLO || stream !== 0 || aux !== VERSION) throw new ProtocolError('no HELLO of this version');
    let hello;
    try {
      hello = JSON.parse(buffer.utf8Slice(start, end));
    } catch {
      throw new ProtocolError('a HELLO that is not JSON');
    }
    if (typeof hello !== 'object' || hello === null || hello.link !== 'call' || !this.onHello(hello)) {
      throw new ProtocolError('a HELLO with a wrong token');
    }
    this.onHello = null;
    if (hello.memory !== undefined) {
      const memory = this.handles.useMemory();
      this.output.memory(memory !== null && memory.canOpen(hello.memory), memory?.sample());
    }
    if (typeof hello.from === 'string') this.name = hello.from.slice(0, 64);
  }

  #beginMessage(type, flags, stream, buffer, start, end) {
    const known = type === TYPE.CALL || this.#ours(stream) !== undefined;
    this.assemblies.begin({ type, flags }, stream, buffer.subarray(start, end), known);
  }

  #onMessage(type, flags, stream, buffer, start, end) {
    if (type === TYPE.CALL) {
      this.#onCall(stream, flags, buffer, start, end);
      return;
    }
    const call = this.#ours(stream);
    if (call === undefined) return;
    if (type === TYPE.RESULT && (flags & FLAG.STREAM) === 0) {
      if (call.inbox !== null) throw new ProtocolError('a second RESULT');
      let value;
      try {
        value = readValue(buffer, start, end, this.handles);
      } catch (error) {
        if (error instanceof ProtocolError) throw error;
        this.#ended(call);
        call.fail({ reason: error });
        return;
      }
      this.#ended(call);
      call.succeed(value);
    } else if (type === TYPE.RESULT) {
      if (call.inbox !== null) throw new ProtocolError('a second RESULT');
      call.streams(new Inbox(call));
      // A stream that nobody reads holds nothing up.
      this.letGo();
    } else if (type === TYPE.ERROR) {
      const facts = readFacts(buffer, start, end, this.handles);
      this.#over(call);
      call.fail({ facts });
    } else {
      this.#onItems(call, flags, buffer, start, end);
    }
  }

  #onItems(call, flags, buffer, start, end) {
    if (call.inbox === null) throw new ProtocolError('ITEM before RESULT');
    const last = (flags & ITEM_FLAG.END) !== 0;
    if (last) this.#over(call);
    try {
      call.inbox.onItems(buffer, start, end, last);
    } catch (error) {
      if (error instanceof ProtocolError) throw error;
      if (!last) this.cancel(call, CANCEL.UNWANTED);
      call.inbox.fail({ reason: error });
    }
  }

  /** A call of ours is over; one that streams has let go already. */
  #over(call) {
    if (call.inbox !== null) this.holders++;
    this.#ended(call);
  }

  /** A call of ours, or undefined if it is over here: the frame crossed on the way. */
  #ours(stream) {
    const call = this.calls.get(stream);
    if (call === undefined && (stream === 0 || stream % 2 === this.peerParity || stream >= this.nextStream)) {
      throw new ProtocolError(`a frame for stream ${stream}, never opened`);
    }
    return call;
  }

  #theirs(stream) {
    const incoming = this.incoming.get(stream);
    if (incoming === undefined && (stream % 2 !== this.peerParity || stream > this.lastPeerStream || stream === 0)) {
      throw new ProtocolError(`a frame for stream ${stream}, never opened`);
    }
    return incoming;
  }

  #admit(stream) {
    if (stream === 0 || stream % 2 !== this.peerParity || stream <= this.lastPeerStream) {
      throw new ProtocolError(`a CALL on stream ${stream} after ${this.lastPeerStream}`);
    }
    this.lastPeerStream = stream;
  }

  #onCall(stream, flags, buffer, start, end) {
    if (end - start < 11) throw new ProtocolError('a CALL that ends too early');
    const member = start + 10;
    const args = member + (buffer[start + 8] | (buffer[start + 9] << 8));
    if (args >= end) throw new ProtocolError('a CALL without arguments');
    const incoming = new Incoming(this, stream, flags, buffer.readUInt32LE(start), buffer.readUInt32LE(start + 4));
    if (args > member) incoming.member = buffer.utf8Slice(member, args);
    if (this.incoming.size >= INCOMING_MAX) {
      incoming.fail(callError('BIREME_SERVICE_BUSY', `${INCOMING_MAX} calls of this process run already`));
      return;
    }
    this.incoming.set(stream, incoming);
    if (incoming.deadline !== Infinity) this.deadlines.watch(incoming.deadline);
    incoming.begin(buffer, args, end);
  }

  #onCredit(stream, buffer, start, end) {
    if (end - start !== 4) throw new ProtocolError('a CREDIT that is not 4 bytes');
    const incoming = this.#theirs(stream);
    if (incoming === undefined) return;
    if (incoming.producer === null) throw new ProtocolError('CREDIT for a call that does not stream');
    incoming.producer.onCredit(buffer.readUInt32LE(start));
  }

  #onRelease(buffer, start, end) {
    if (end - start !== 8) throw new ProtocolError('a RELEASE that is not 8 bytes');
    if (!this.handles.dropped(buffer.readUInt32LE(start), buffer.readUInt32LE(start + 4))) {
      throw new ProtocolError('a RELEASE of what the peer does not hold');
    }
    if (this.leaving) this.#leaveIfIdle();
  }

  #onBind(buffer, start, end) {
    if (end - start < 5) throw new ProtocolError('a BIND that ends too early');
    const number = buffer.readUInt32LE(start);
    const place = readValue(buffer, start + 4, end, null);
    const place2 = typeof place === 'object' && place !== null ? place : {};
    const { file, module, name } = place2;
    if (typeof name !== 'string' || (typeof file === 'string') === (typeof module === 'string')) {
      throw new ProtocolError('a BIND that names neither a file nor a module, or both');
    }
    if (number !== this.bound.size + 1) throw new ProtocolError(`a BIND with the number ${number}`);
    this.bound.set(number, this.host.target(place2));
    this.unmarked.add(number);
  }

  #onMark(buffer, start, end) {
    const target = end - start === 8 ? this.bindings[buffer.readUInt32LE(start) - 1] : undefined;
    if (target === undefined) throw new ProtocolError('a MARK of nothing that was bound');
    target.idempotent = (buffer.readUInt32LE(start + 4) & MARK.IDEMPOTENT) !== 0;
  }
}

module.exports = { CallLink };
