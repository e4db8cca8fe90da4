'use strict';
// Streams of items, both ends; see "Streams" in protocol/calls.md. Credit counts the bytes of items in ITEM frames: what
// is under way and not yet taken is at most a window, so that neither side fills the other's memory.

const { PAYLOAD_BYTES_MAX, TYPE } = require('../frames.js');
const { ProtocolError } = require('../errors.js');
const { ITEM_FLAG } = require('./codes.js');
const { readSequence } = require('./read.js');

const { setImmediate } = globalThis;

const WINDOW_BYTES = 262_144;
/** Grants are sent in lots of this size, or when the consumer waits. */
const GRANT_BYTES = 65_536;
/** Items of one turn are sent when they are this many bytes, or when the turn ends. */
const BATCH_BYTES = 32_768;

const abandoned = new FinalizationRegistry((inbox) => inbox.cancel());

const DONE = Object.freeze({ value: undefined, done: true });

/** What has arrived of a stream and has not been taken. The link holds this, and not what the program holds. */
class Inbox {
  constructor(call) {
    this.call = call;
    this.link = call.link;
    this.queue = [];
    this.taken = 0;
    // Payload bytes and last item of each frame in the queue, to grant a frame when its items are gone.
    this.frames = [];
    this.counted = 0;
    this.grantable = 0;
    this.window = WINDOW_BYTES;
    this.waiting = [];
    this.ended = false;
    this.failure = null;
  }

  /** Items of one frame, or of one whole item that came in parts. */
  onItems(buffer, start, end, last) {
    const bytes = end - start;
    if (bytes > this.window && this.window < WINDOW_BYTES) throw new ProtocolError('items beyond the credit of their stream');
    this.window -= bytes;
    const before = this.queue.length;
    readSequence(buffer, start, end, this.link.handles, this.queue);
    this.counted += this.queue.length - before;
    if (bytes > 0) this.frames.push({ until: this.counted, bytes });
    if (last) this.ended = true;
    this.#deliver();
  }

  fail(failure) {
    this.failure = failure;
    this.ended = true;
    this.#deliver();
  }

  /** A promise for the next result; a native one, so that `await` takes the short way. */
  next() {
    if (this.taken < this.queue.length && this.waiting.length === 0) return Promise.resolve({ value: this.#take(), done: false });
    if (this.ended) return this.#end();
    if (this.waiting.length === 0) this.link.hold();
    return new Promise((resolve, reject) => {
      this.waiting.push({ resolve, reject });
      this.#grant();
    }).then(undefined, this.call.raise);
  }

  /** The program wants no more. */
  cancel() {
    this.queue.length = 0;
    this.taken = 0;
    if (!this.ended) this.call.cancel();
    this.ended = true;
    this.#deliver();
  }

  #end() {
    const { failure } = this;
    if (failure === null) return Promise.resolve(DONE);
    // An error is told once, as by a generator.
    this.failure = null;
    return Promise.reject(failure).catch(this.call.raise);
  }

  #take() {
    const value = this.queue[this.taken];
    this.queue[this.taken++] = undefined;
    if (this.taken === this.queue.length || this.taken >= 4096) {
      this.queue.splice(0, this.taken);
      this.counted -= this.taken;
      for (const frame of this.frames) frame.until -= this.taken;
      this.taken = 0;
    }
    let done = 0;
    while (done < this.frames.length && this.frames[done].until <= this.taken) this.grantable += this.frames[done++].bytes;
    if (done > 0) {
      this.frames.splice(0, done);
      if (this.grantable >= GRANT_BYTES) this.#grant();
    }
    return value;
  }

  #grant() {
    if (this.grantable === 0 || this.ended) return;
    this.window += this.grantable;
    this.link.output.credit(this.call.stream, this.grantable);
    this.grantable = 0;
  }

  #deliver() {
    const { waiting } = this;
    if (waiting.length === 0) return;
    let served = 0;
    while (served < waiting.length && this.taken < this.queue.length) waiting[served++].resolve({ value: this.#take(), done: false });
    if (this.ended) {
      for (; served < waiting.length; served++) {
        if (this.failure !== null) waiting[served].reject(this.failure);
        else waiting[served].resolve(DONE);
        this.failure = null;
      }
    }
    waiting.splice(0, served);
    if (waiting.length === 0) this.link.letGo();
    else this.#grant();
  }
}

/** What the program iterates over. When it lets go of it, the producer ends. */
class RemoteStream {
  #inbox;

  constructor(inbox) {
    this.#inbox = inbox;
    abandoned.register(this, inbox, inbox);
  }

  next() {
    return this.#inbox.next();
  }

  async return(value) {
    abandoned.unregister(this.#inbox);
    this.#inbox.cancel();
    return { value, done: true };
  }

  [Symbol.asyncIterator]() {
    return this;
  }

  async [Symbol.asyncDispose]() {
    await this.return();
  }
}

/** Sends the items of an iterator within the peer's credit. */
class Producer {
  constructor(incoming, iterator) {
    this.incoming = incoming;
    this.iterator = iterator;
    this.credit = WINDOW_BYTES;
    this.wake = null;
    this.over = false;
    // The frame that items are gathered in: where its bytes are, in a writer of its own.
    this.writer = incoming.link.output.newWriter();
    // Bytes at its end that have no credit yet.
    this.held = 0;
    this.scheduled = false;
    this.flush = () => {
      this.scheduled = false;
      this.#send(0, this.writer.length - this.held);
    };
  }

  onCredit(bytes) {
    this.credit += bytes;
    if (this.credit > WINDOW_BYTES) throw new ProtocolError('more credit than a stream has');
    this.#awake();
  }

  /** The peer wants no more, or is gone. */
  cancel() {
    this.over = true;
    this.#awake();
    this.#close();
  }

  async run() {
    const { iterator, incoming } = this;
    try {
      let turn = 0;
      while (!this.over) {
        const next = incoming.next(iterator);
        const step = typeof next?.then === 'function' ? await next : next;
        if (this.over) return;
        if (step.done === true) break;
        const value = typeof step.value?.then === 'function' ? await step.value : step.value;
        const size = this.#put(value);
        if (this.credit < size && this.credit < WINDOW_BYTES) await this.#room(size);
        if (this.over) return;
        this.credit -= size;
        if (size > PAYLOAD_BYTES_MAX) this.#send(0);
        else if (this.writer.length >= BATCH_BYTES) {
          this.#send(0);
          // An iterator that never waits would keep the loop from everything else.
          if (++turn % 4 === 0) await new Promise(setImmediate);
        }
        else this.#schedule();
      }
      if (this.over) return;
      this.#send(ITEM_FLAG.END);
      incoming.over();
    } catch (error) {
      if (this.over) {
        incoming.unheard(error);
        return;
      }
      this.over = true;
      this.writer.length = this.whole ?? this.writer.length;
      this.#send(0);
      incoming.fail(error);
      this.#close();
    }
  }

  /** Appends an item to those that wait; returns its bytes. One that is larger than a frame waits alone. */
  #put(value) {
    const { writer } = this;
    const start = writer.length;
    this.whole = start;
    writer.handles.begin();
    try {
      writer.whole(value, 'item');
    } catch (error) {
      writer.handles.takeBack();
      throw error;
    }
    const size = writer.length - start;
    if (start > 0 && start + size > PAYLOAD_BYTES_MAX) this.#send(0, start);
    this.whole = undefined;
    return size;
  }

  /** Waits until an item may be sent; those before it go first. */
  async #room(size) {
    this.held = size;
    this.#send(0, this.writer.length - size);
    while (!this.over && this.credit < size && this.credit < WINDOW_BYTES) {
      await new Promise((resolve) => {
        this.wake = resolve;
      });
    }
    this.held = 0;
  }

  #schedule() {
    if (this.scheduled) return;
    this.scheduled = true;
    process.nextTick(this.flush);
  }

  /** Sends the first `bytes` of what has been gathered. */
  #send(flags, bytes = this.writer.length) {
    const { writer, incoming } = this;
    if (incoming.settled || (bytes === 0 && flags === 0)) return;
    incoming.link.output.items(incoming.stream, writer.buffer, bytes, flags);
    writer.buffer.copyWithin(0, bytes, writer.length);
    writer.length -= bytes;
  }

  #awake() {
    const { wake } = this;
    this.wake = null;
    wake?.();
  }

  /** Ends the generator, whose `finally` may do things; what it throws then has no better place than the log. */
  async #close() {
    try {
      await this.iterator.return?.();
    } catch (error) {
      this.incoming.unheard(error);
    }
  }
}

module.exports = { Inbox, Producer, RemoteStream };
