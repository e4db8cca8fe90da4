'use strict';
// One stream of a data link: credit in both directions, what waits for it, and when the stream is over. It knows
// nothing of what the bytes mean; http.js, fetch.js and upgrade.js build on it.

const { BODY_FRAME_BYTES, FLAG, INITIAL_CREDIT_BYTES, RESET, TYPE, readFieldList } = require('./frames.js');
const { ProtocolError, nodeError } = require('./errors.js');

/**
 * How many consumed bytes are granted again at once. A quarter of the window: the sender always has three quarters to
 * go on with, and a large upload costs one CREDIT frame for every 64 KiB.
 */
const GRANT_BYTES = INITIAL_CREDIT_BYTES / 4;

const EMPTY = Buffer.alloc(0);

/** Subclasses define `onBody(bytes)`, `onBodyEnd(trailers)`, `onAborted()` and `onDrained()`. */
class LinkStream {
  constructor(link, id, receivedEnd) {
    this.link = link;
    this.id = id;
    this.sendCredit = INITIAL_CREDIT_BYTES;
    this.receiveCredit = INITIAL_CREDIT_BYTES;
    // Bytes that arrived and that the application has not asked beyond yet.
    this.ungranted = 0;
    this.receivedEnd = receivedEnd;
    this.sentEnd = false;
    this.closed = false;
    // Chunks that wait for credit. Bounded by what the application writes after `write` returned false.
    this.queue = null;
    this.queuedBytes = 0;
    this.endFields = null;
    this.ending = false;
  }

  // What the application sends.

  /** Sends as much as credit allows and queues the rest. Returns whether everything went out. */
  send(bytes, end, callback) {
    if (this.queue !== null) {
      this.queue.push(bytes, callback);
      this.queuedBytes += bytes.length;
      this.ending = end;
      return false;
    }
    const sent = this.#sendSome(bytes, end);
    if (sent === bytes.length) {
      if (callback !== null) process.nextTick(callback);
      return true;
    }
    this.queue = [bytes.subarray(sent), callback];
    this.queuedBytes = bytes.length - sent;
    this.ending = end;
    return false;
  }

  /** Ends our half with a frame of the caller's, such as TRAILERS, once everything before it has gone out. */
  sendTrailers(write) {
    if (this.queue !== null) {
      this.endFields = write;
      this.ending = true;
      return false;
    }
    write();
    this.link.scheduleFlush();
    this.#endSent();
    return true;
  }

  /** For an END flag that a subclass has put on a frame of its own. */
  endSent() {
    this.#endSent();
  }

  /** Tells the front to forget the stream. `text` is for the log. */
  reset(code, text) {
    if (this.closed) return;
    this.closed = true;
    this.#dropQueue();
    this.link.reset(this.id, code, text);
  }

  #sendSome(bytes, end) {
    const total = bytes.length;
    const limit = Math.min(total, this.sendCredit);
    const writer = this.link.writer;
    let at = 0;
    if (total === 0) {
      if (end) writer.empty(TYPE.DATA, this.id, 0, FLAG.END);
    }
    while (at < limit) {
      const next = Math.min(at + BODY_FRAME_BYTES, limit);
      const whole = at === 0 && next === total;
      writer.bytes(TYPE.DATA, this.id, 0, end && next === total ? FLAG.END : 0, whole ? bytes : bytes.subarray(at, next));
      at = next;
    }
    this.sendCredit -= at;
    this.link.scheduleFlush();
    if (end && at === total) this.#endSent();
    return at;
  }

  #endSent() {
    this.sentEnd = true;
    if (this.receivedEnd) this.#close();
  }

  #close() {
    this.closed = true;
    this.link.streams.delete(this.id);
  }

  #dropQueue() {
    const queue = this.queue;
    this.queue = null;
    this.queuedBytes = 0;
    this.endFields = null;
    if (queue === null || !this.closed) return;
    for (let i = 1; i < queue.length; i += 2) {
      if (queue[i] !== null) {
        process.nextTick(queue[i], nodeError('ERR_STREAM_DESTROYED', 'Cannot call write after a stream was destroyed'));
      }
    }
  }

  onCredit(bytes) {
    this.sendCredit += bytes;
    const queue = this.queue;
    if (queue === null) return;
    let done = 0;
    while (done < queue.length) {
      const chunk = queue[done];
      const last = done + 2 === queue.length;
      const sent = this.#sendSome(chunk, last && this.ending && this.endFields === null);
      this.queuedBytes -= sent;
      if (sent < chunk.length) {
        queue[done] = chunk.subarray(sent);
        break;
      }
      const callback = queue[done + 1];
      if (callback !== null) process.nextTick(callback);
      done += 2;
    }
    // What has been called back must not be called again, which the drop of a closed stream's queue would do.
    queue.splice(0, done);
    if (queue.length > 0) return;
    const endFields = this.endFields;
    this.#dropQueue();
    if (endFields !== null) {
      endFields();
      this.link.scheduleFlush();
      this.#endSent();
    }
    this.onDrained();
  }

  // What the front sends.

  onData(buffer, start, end, last) {
    if (this.receivedEnd) throw new ProtocolError(`DATA after the end of stream ${this.id}`);
    const length = end - start;
    if (length > 0) {
      this.receiveCredit -= length;
      if (this.receiveCredit < 0) throw new ProtocolError(`DATA beyond the credit of stream ${this.id}`);
      this.ungranted += length;
      // The link reuses its buffer with the next read.
      const bytes = Buffer.allocUnsafe(length);
      buffer.copy(bytes, 0, start, end);
      this.onBody(bytes);
    }
    if (last) this.#bodyEnded(null);
  }

  onTrailers(buffer, start, end) {
    if (this.receivedEnd) throw new ProtocolError(`TRAILERS after the end of stream ${this.id}`);
    this.#bodyEnded(readFieldList(buffer, start, end));
  }

  #bodyEnded(trailers) {
    this.receivedEnd = true;
    if (this.sentEnd) this.#close();
    this.onBodyEnd(trailers);
  }

  /** The application wants more of the body: gives back credit for what it has been given. */
  grant() {
    if (this.ungranted < GRANT_BYTES || this.receivedEnd || this.closed) return;
    this.link.writer.credit(this.id, this.ungranted);
    this.receiveCredit += this.ungranted;
    this.ungranted = 0;
    this.link.scheduleFlush();
  }

  /** The rest of the request's body is not wanted. Ends the stream when our half has ended. */
  discardBody() {
    if (this.receivedEnd || this.closed) return;
    if (this.sentEnd) this.reset(RESET.NO_ERROR, '');
  }

  onReset(_code) {
    if (this.closed) return;
    this.#close();
    this.#dropQueue();
    this.onAborted();
  }

  onLinkClosed() {
    if (this.closed) return;
    this.closed = true;
    this.#dropQueue();
    this.onAborted();
  }
}

module.exports = { EMPTY, LinkStream };
