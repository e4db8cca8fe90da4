'use strict';
// What a call link says: its frames, and when they are written. Which calls are under way is not known here.

const { performance } = require('node:perf_hooks');

const { HEADER_BYTES, PAYLOAD_BYTES_MAX, TYPE, VERSION } = require('../frames.js');
const { summarize } = require('../errors.js');
const { FLAG, ITEM_FLAG, MARK } = require('./codes.js');
const { callError } = require('./errors.js');
const { finishMessage } = require('./messages.js');
const { ValueWriter } = require('./write.js');

/** A turn's frames are written when they are this many bytes, even if the turn goes on. */
const FLUSH_BYTES = 262_144;

class Output {
  /** `handles` number what frames give to the peer. */
  constructor(socket, handles, messageBytesMax) {
    this.socket = socket;
    this.handles = handles;
    this.messageBytesMax = messageBytesMax;
    this.writer = this.newWriter();
    this.closed = false;
    // How often the writer has been emptied: what went into it since the last time has surely not been sent.
    this.flushes = 0;
    this.scheduled = false;
    this.writing = null;
    this.onTurnEnd = () => {
      this.scheduled = false;
      this.flush();
    };
    this.onWritten = (error) => this.#goOn(error);
  }

  newWriter() {
    return new ValueWriter(this.handles);
  }

  // The frames of a link.

  hello(hello) {
    this.writer.json(TYPE.HELLO, 0, VERSION, hello);
    this.#schedule();
  }

  bind(number, { file, module, name }) {
    const { writer } = this;
    const start = writer.begin(TYPE.BIND, 0, 0, 4);
    writer.length = writer.buffer.writeUInt32LE(number, writer.length);
    writer.whole({ ...(file === undefined ? { module } : { file }), name }, 'target');
    writer.finish(start, 0);
    this.#schedule();
  }

  /** That calls of what the peer has bound may be made twice. */
  mark(number) {
    this.#twoNumbers(TYPE.MARK, number, MARK.IDEMPOTENT);
    this.#flushNow();
  }

  release(number, times) {
    this.#twoNumbers(TYPE.RELEASE, number, times);
    this.#schedule();
  }

  /** `sample` is ours, or undefined if the peer has none to try or has ours already. */
  memory(canOpen, sample) {
    const { writer } = this;
    const start = writer.begin(TYPE.MEMORY, 0, canOpen ? 1 : 0, 0);
    if (sample !== undefined) writer.whole(sample, 'memory');
    writer.finish(start, 0);
    this.#schedule();
  }

  returns(leases) {
    this.writer.bytes(TYPE.RETURN, 0, 0, 0, leases);
    this.#schedule();
  }

  forgets(ids) {
    this.writer.bytes(TYPE.FORGET, 0, 0, 0, ids);
    this.#schedule();
  }

  // The frames of a call of ours.

  /** Returns what `flushes` is until it has left. Throws `CannotCross`, and then nothing of it has been written. */
  call(stream, target, { args, kwargs, member, deadline, flags }) {
    const { writer } = this;
    const timeout = deadline === Infinity ? 0 : Math.max(1, Math.ceil(deadline - performance.now()));
    const start = writer.begin(TYPE.CALL, stream, 0, 10);
    const { buffer } = writer;
    let at = buffer.writeUInt32LE(target, writer.length);
    at = buffer.writeUInt32LE(timeout, at);
    writer.length = at + 2;
    if (member === '') {
      buffer[at] = 0;
      buffer[at + 1] = 0;
    } else {
      writer.reserve(member.length * 3);
      const bytes = writer.buffer.utf8Write(member, writer.length);
      writer.buffer.writeUInt16LE(bytes, at);
      writer.length += bytes;
    }
    this.#encode(start, () => writer.arguments(args, kwargs));
    finishMessage(writer, start, kwargs === undefined ? flags : flags | FLAG.KWARGS);
    const { flushes } = this;
    this.#schedule();
    return flushes;
  }

  cancel(stream, why) {
    this.writer.empty(TYPE.CANCEL, stream, why, 0);
    this.#schedule();
  }

  credit(stream, bytes) {
    if (this.closed) return;
    this.writer.credit(stream, bytes);
    this.#schedule();
  }

  // The frames of a call of the peer's.

  /** The call waits, and has not begun. */
  queued(stream) {
    this.writer.empty(TYPE.QUEUED, stream, 0, 0);
    this.#schedule();
  }

  /** It begins: said before it does anything, such as end this process. */
  started(stream) {
    this.writer.empty(TYPE.STARTED, stream, 0, 0);
    this.#flushNow();
  }

  /** `asObject`: the value stays here, and the peer gets a handle. Throws `CannotCross`. */
  result(stream, value, asObject) {
    const { writer } = this;
    const start = writer.begin(TYPE.RESULT, stream, 0, 0);
    this.#encode(start, () => {
      if (asObject) {
        writer.root = 'result';
        writer.depth = 0;
        writer.reference(value, 'object', value.constructor?.name);
      } else {
        writer.whole(value, 'result');
      }
    });
    finishMessage(writer, start, 0);
    this.#schedule();
  }

  streamBegins(stream) {
    this.writer.empty(TYPE.RESULT, stream, 0, FLAG.END | FLAG.STREAM);
    this.#schedule();
  }

  /** The first `bytes` of `buffer` are whole items; a single one may be longer than a frame. */
  items(stream, buffer, bytes, flags) {
    const { writer } = this;
    const start = writer.begin(TYPE.ITEM, stream, 0, bytes);
    buffer.copy(writer.buffer, writer.length, 0, bytes);
    writer.length += bytes;
    if (bytes > PAYLOAD_BYTES_MAX) {
      finishMessage(writer, start, ITEM_FLAG.PART);
      if ((flags & ITEM_FLAG.END) !== 0) writer.empty(TYPE.ITEM, stream, 0, ITEM_FLAG.END);
    } else {
      writer.finish(start, flags);
    }
    this.#schedule();
  }

  error(stream, error) {
    const { writer } = this;
    const start = writer.begin(TYPE.ERROR, stream, 0, 0);
    try {
      this.#encode(start, () => {
        writer.depth = 0;
        writer.errorMap(error, []);
      });
    } catch (why) {
      // Too large, or of a depth that nothing can carry: its name and the reason must do.
      writer.length = start;
      writer.begin(TYPE.ERROR, stream, 0, 0);
      writer.depth = 0;
      writer.errorMap(callError('BIREME_VALUE', `${summarize(error)} (the error itself cannot cross: ${summarize(why)})`), []);
    }
    finishMessage(writer, start, 0);
    this.#schedule();
  }

  #twoNumbers(type, first, second) {
    const { writer } = this;
    const start = writer.begin(type, 0, 0, 8);
    writer.length = writer.buffer.writeUInt32LE(first, writer.length);
    writer.length = writer.buffer.writeUInt32LE(second, writer.length);
    writer.finish(start, 0);
  }

  /** Runs `encode`; what it gave and wrote is taken back if it throws, or if it wrote too much. */
  #encode(start, encode) {
    const { writer, handles } = this;
    handles.begin();
    try {
      encode();
      const bytes = writer.length - start - HEADER_BYTES;
      if (bytes > this.messageBytesMax) {
        throw callError('BIREME_TOO_LARGE', `a message of ${bytes} bytes; at most ${this.messageBytesMax} may be sent (calls.message_bytes_max)`);
      }
    } catch (error) {
      handles.takeBack();
      writer.length = start;
      throw error;
    }
  }

  // When they are written.

  #schedule() {
    if (this.scheduled) {
      if (this.writer.length > FLUSH_BYTES) this.flush();
      return;
    }
    this.scheduled = true;
    // After all promises that are settled now have been heard: what they lead to shares the write.
    process.nextTick(this.onTurnEnd);
  }

  /** One write at a time: what is still in our writer when the link dies has surely not been sent. */
  flush() {
    if (this.writing !== null || this.closed || this.writer.length === 0) return;
    this.flushes++;
    this.writing = this.writer.take();
    this.socket.write(this.writing, this.onWritten);
  }

  /** Ends our half of the connection behind what has been said. */
  end() {
    if (this.writer.length > 0) this.#flushNow();
    this.socket.end();
  }

  /** For what the peer has to hear before this process goes on, and perhaps ends: it does not wait for the write before it. */
  #flushNow() {
    if (this.writing === null) this.flush();
    else if (!this.closed) {
      this.flushes++;
      this.socket.write(this.writer.take());
    }
  }

  #goOn(error) {
    if (this.writing !== null) this.writer.giveBack(this.writing);
    this.writing = null;
    if (!error) this.flush();
  }

  /** The link is over: nothing is written any more. */
  close() {
    this.closed = true;
  }
}

module.exports = { Output };
