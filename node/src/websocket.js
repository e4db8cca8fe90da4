'use strict';
// `export default { fetch(request, server), websocket: { open, message, drain, close } }`: sockets whose protocol the
// front speaks. Messages travel as frames of the link; see "WebSockets" in protocol/README.md.

const { CLOSE_REASON_BYTES_MAX, Fields, FLAG, INITIAL_CREDIT_BYTES, MESSAGE_COST, RESET, TYPE } = require('./frames.js');
const topics = require('./topics.js');
const { ContractError, ProtocolError, describe } = require('./errors.js');
const { isArrayBuffer, isSharedArrayBuffer } = require('node:util').types;
const { isView } = ArrayBuffer;

/** Credit that is given back at once, as for bodies in stream.js. */
const GRANT = INITIAL_CREDIT_BYTES / 4;
/** Strings up to this length are encoded straight into the output; three bytes is the most one UTF-16 unit takes. */
const INLINE_STRING_LENGTH_MAX = 21_845;
/** Bytes of one frame, so that one socket's message does not hold up the others on its link. */
const PIECE_BYTES = 65_536;
/** What waits for a slow client, at most, if the handlers do not say `backpressureLimit`. */
const BACKPRESSURE_BYTES = 16 * 1024 * 1024;

const NORMAL = 1000;
const ABNORMAL = 1006;
const OPEN = 1;
const CLOSING = 2;
const CLOSED = 3;

const fields = new Fields();

/** The handlers of a module, checked once. */
class Handlers {
  constructor(handlers) {
    if (handlers === null || typeof handlers !== 'object') throw new TypeError('websocket is no object with handlers');
    for (const name of ['open', 'resume', 'message', 'drain', 'close']) {
      const handler = handlers[name];
      if (handler !== undefined && typeof handler !== 'function') throw new TypeError(`websocket.${name} is no function`);
    }
    this.handlers = handlers;
    const { backpressureLimit = BACKPRESSURE_BYTES } = handlers;
    if (!Number.isSafeInteger(backpressureLimit) || backpressureLimit < 0) {
      throw new TypeError('websocket.backpressureLimit is no number of bytes');
    }
    this.backpressureBytesMax = backpressureLimit;
    this.closeOnLimit = handlers.closeOnBackpressureLimit === true;
  }
}

/** The link's end of a socket. */
class SocketStream {
  constructor(link, id, service, head) {
    this.link = link;
    this.id = id;
    this.service = service;
    this.head = head;
    this.socket = null;
    this.sendCredit = INITIAL_CREDIT_BYTES;
    this.receiveCredit = INITIAL_CREDIT_BYTES;
    this.ungranted = 0;
    this.partial = null;
    this.queue = null;
    this.queuedBytes = 0;
    this.readyState = OPEN;
    // A close that waits for the messages before it.
    this.ending = null;
    /** Joined. */
    this.topics = new Set();
    // Another worker has had it before.
    this.resumed = false;
  }

  accept(headers) {
    fields.clear();
    for (const [name, value] of headers) fields.add(name, value);
    this.link.writer.fieldList(TYPE.WSACCEPT, this.id, 0, 0, fields);
    this.link.scheduleFlush();
    this.link.streams.set(this.id, this);
  }

  // What the application sends.

  /** Returns bytes sent, -1 if some of them wait, 0 if the message was dropped. */
  send(data) {
    if (this.readyState !== OPEN) return 0;
    if (typeof data === 'string') {
      const most = data.length * 3;
      if (this.queue === null && data.length <= INLINE_STRING_LENGTH_MAX && this.sendCredit >= most + MESSAGE_COST) {
        return this.#sendText(data, most);
      }
      return this.#sendBytes(Buffer.from(data), FLAG.TEXT, false);
    }
    return this.#sendBytes(bytesOf(data), 0, true);
  }

  #sendText(text, most) {
    const { writer } = this.link;
    const start = writer.begin(TYPE.WSMESSAGE, this.id, 0, most);
    const before = writer.length;
    writer.appendUtf8(text);
    const length = writer.length - before;
    writer.finish(start, FLAG.END | FLAG.TEXT);
    this.sendCredit -= length + MESSAGE_COST;
    this.link.scheduleFlush();
    return length;
  }

  #sendBytes(bytes, text, shared) {
    if (this.queue === null) {
      const sent = this.#sendSome(bytes, 0, text);
      if (sent < 0) return bytes.length;
      this.queue = [];
      this.#enqueue(bytes, sent, text, shared);
      return -1;
    }
    const { backpressureBytesMax, closeOnLimit } = this.service.sockets;
    if (this.queuedBytes + bytes.length > backpressureBytesMax) {
      if (closeOnLimit) this.close(1008, 'too slow');
      return 0;
    }
    this.#enqueue(bytes, 0, text, shared);
    return -1;
  }

  #enqueue(bytes, sent, text, shared) {
    const left = bytes.length - sent;
    // What the application goes on writing to must not change what it has sent.
    const rest = shared ? Buffer.from(bytes.subarray(sent)) : bytes.subarray(sent);
    this.queue.push({ bytes: rest, text });
    this.queuedBytes += left + MESSAGE_COST;
  }

  /** Sends from `at` as much as credit allows. Returns where it stopped, or -1 when all of the message is out. */
  #sendSome(bytes, at, text) {
    const { writer } = this.link;
    for (;;) {
      const left = bytes.length - at;
      const room = this.sendCredit - MESSAGE_COST;
      if (room < Math.min(left, 1)) return at;
      const size = Math.min(left, room, PIECE_BYTES);
      const last = size === left;
      const piece = last && at === 0 ? bytes : bytes.subarray(at, at + size);
      if (size === 0) writer.empty(TYPE.WSMESSAGE, this.id, 0, text | FLAG.END);
      else writer.bytes(TYPE.WSMESSAGE, this.id, 0, last ? text | FLAG.END : text, piece);
      this.sendCredit -= size + MESSAGE_COST;
      this.link.scheduleFlush();
      if (last) return -1;
      at += size;
    }
  }

  close(code, reason) {
    // A close that waits for a slow client can still be cut short.
    if (this.readyState !== OPEN && (code !== ABNORMAL || this.ending === null || this.queue === null)) return;
    this.readyState = CLOSING;
    if (code === ABNORMAL) {
      this.queue = null;
      this.queuedBytes = 0;
    }
    if (this.queue === null) this.#putClose(code, reason);
    else this.ending = { code, reason };
  }

  #putClose(code, reason) {
    if (reason === '') this.link.writer.empty(TYPE.WSCLOSE, this.id, code, FLAG.END);
    else this.link.writer.bytes(TYPE.WSCLOSE, this.id, code, FLAG.END, Buffer.from(reason));
    this.link.scheduleFlush();
  }

  // What the front sends.

  onCredit(bytes) {
    this.sendCredit += bytes;
    const { queue } = this;
    if (queue === null) return;
    let done = 0;
    for (; done < queue.length; done++) {
      const message = queue[done];
      const sent = this.#sendSome(message.bytes, 0, message.text);
      if (sent >= 0) {
        message.bytes = message.bytes.subarray(sent);
        this.queuedBytes -= sent;
        break;
      }
      this.queuedBytes -= message.bytes.length + MESSAGE_COST;
    }
    if (done < queue.length) {
      queue.splice(0, done);
      return;
    }
    this.queue = null;
    this.queuedBytes = 0;
    if (this.ending !== null) this.#putClose(this.ending.code, this.ending.reason);
    else this.#call('drain');
  }

  onMessage(buffer, start, end, flags) {
    const cost = end - start + MESSAGE_COST;
    this.receiveCredit -= cost;
    if (this.receiveCredit < 0) throw new ProtocolError(`WS_MESSAGE beyond the credit of stream ${this.id}`);
    // The handler gets each message as it comes, so nothing waits here but the beginning of one.
    this.ungranted += cost;
    if (this.ungranted >= GRANT) {
      this.link.writer.credit(this.id, this.ungranted);
      this.receiveCredit += this.ungranted;
      this.ungranted = 0;
      this.link.scheduleFlush();
    }
    if (this.readyState !== OPEN) return;
    const text = (flags & FLAG.TEXT) !== 0;
    const last = (flags & FLAG.END) !== 0;
    if (this.partial === null && last) {
      if (text) this.#call('message', buffer.utf8Slice(start, end));
      else this.#call('message', this.#binary(copy(buffer, start, end)));
      return;
    }
    (this.partial ??= []).push(copy(buffer, start, end));
    if (!last) return;
    const bytes = Buffer.concat(this.partial);
    this.partial = null;
    this.#call('message', text ? bytes.utf8Slice() : this.#binary(bytes));
  }

  #binary(bytes) {
    switch (this.socket.binaryType) {
      case 'arraybuffer':
        return bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length);
      case 'uint8array':
        return new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.length);
      default:
        return bytes;
    }
  }

  /** The socket is closed, says the front. */
  onClose(code, reason) {
    this.#over(code, reason);
  }

  onData() {
    throw new ProtocolError(`DATA on the WebSocket ${this.id}`);
  }

  onTrailers() {
    throw new ProtocolError(`TRAILERS on the WebSocket ${this.id}`);
  }

  onReset() {
    this.#over(ABNORMAL, '');
  }

  onLinkClosed() {
    this.#over(ABNORMAL, '');
  }

  #over(code, reason) {
    if (this.readyState === CLOSED) return;
    this.readyState = CLOSED;
    this.link.streams.delete(this.id);
    this.queue = null;
    this.queuedBytes = 0;
    this.partial = null;
    this.topics.clear();
    this.#call('close', code, reason);
  }

  /** Calls a handler. One that throws or rejects costs its socket, not the worker. */
  #call(name, ...values) {
    const { handlers } = this.service.sockets;
    if (handlers[name] === undefined) return;
    try {
      const returned = handlers[name](this.socket, ...values);
      if (returned !== null && typeof returned === 'object' && typeof returned.then === 'function') {
        returned.then(undefined, (error) => this.fail(error));
      }
    } catch (error) {
      this.fail(error);
    }
  }

  opened() {
    if (this.readyState !== OPEN) return;
    const known = this.service.sockets.handlers;
    this.#call(this.resumed && known.resume !== undefined ? 'resume' : 'open');
  }

  fail(error) {
    const text = error instanceof ContractError ? error.message : describe(error);
    if (this.readyState === CLOSED) {
      process.stderr.write(`bireme: a handler of a closed WebSocket failed: ${text}\n`);
      return;
    }
    // RESET makes the front close the socket with 1011; it answers nothing.
    this.link.reset(this.id, RESET.INTERNAL, text);
    this.#over(1011, '');
  }
}

/** What handlers get. */
class ServerWebSocket {
  #stream;

  constructor(stream, data) {
    this.#stream = stream;
    this.data = data;
    /** How binary messages come: `nodebuffer`, `arraybuffer` or `uint8array`. */
    this.binaryType = 'nodebuffer';
  }

  /** Sends text (a string) or bytes. Returns the bytes sent, -1 if some of them wait for the client, 0 if it was dropped. */
  send(data) {
    return this.#stream.send(data);
  }

  sendText(text) {
    if (typeof text !== 'string') throw new TypeError(`sendText(${describe(text)}): no string`);
    return this.#stream.send(text);
  }

  sendBinary(bytes) {
    if (typeof bytes === 'string') throw new TypeError('sendBinary() of a string');
    return this.#stream.send(bytes);
  }

  /** Closes the socket once what was sent is out. */
  close(code = NORMAL, reason = '') {
    if (!mayBeSent(code)) {
      throw new RangeError(`close(${code}): 1000 to 1003, 1007 to 1014 and 3000 to 4999 may be sent (RFC 6455 §7.4)`);
    }
    const text = String(reason);
    if (Buffer.byteLength(text) > CLOSE_REASON_BYTES_MAX) throw new RangeError('the reason of a close takes more than 123 bytes');
    this.#stream.close(code, text);
  }

  /** Cuts the connection. */
  terminate() {
    this.#stream.close(ABNORMAL, '');
  }

  /** Calls `callback`; what it sends leaves together, as everything of one turn of the event loop does. */
  cork(callback) {
    return callback(this);
  }

  /** Joins a topic; those who watch it are told of `as`. */
  subscribe(topic, { as = '' } = {}) {
    if (this.#stream.readyState === OPEN) topics.join(this.#stream, topic, as);
  }

  unsubscribe(topic) {
    topics.leave(this.#stream, topic);
  }

  isSubscribed(topic) {
    return this.#stream.topics.has(topic);
  }

  /** Publishes to every other socket that has joined; see `publish` in topics.js for what it returns. */
  publish(topic, data) {
    return topics.publish(topic, data, this.#stream);
  }

  /** Names the socket, also in the log and for another worker that takes it over. */
  get id() {
    return this.#stream.head.requestId;
  }

  /** Whether another worker has had the socket before; `data` is what this one's `server.upgrade` was given. */
  get resumed() {
    return this.#stream.resumed;
  }

  /** Names of the topics that the socket has joined. */
  get subscriptions() {
    return [...this.#stream.topics];
  }

  /** Bytes that wait for the client. */
  getBufferedAmount() {
    return this.#stream.queuedBytes;
  }

  /** 1 open, 2 closing, 3 closed. */
  get readyState() {
    return this.#stream.readyState;
  }

  get remoteAddress() {
    return this.#stream.head.remoteAddress;
  }
}

function mayBeSent(code) {
  return Number.isInteger(code) && ((code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014) || (code >= 3000 && code <= 4999));
}

/** A copy of its own: the link reads the next frame into the same memory. */
function copy(buffer, start, end) {
  const bytes = Buffer.allocUnsafe(end - start);
  buffer.copy(bytes, 0, start, end);
  return bytes;
}

function bytesOf(data) {
  if (isView(data)) return Buffer.from(data.buffer, data.byteOffset, data.byteLength);
  if (isArrayBuffer(data) || isSharedArrayBuffer(data)) return Buffer.from(data);
  throw new TypeError(`send(${describe(data)}): neither a string nor bytes`);
}

/** Accepts the WebSocket that a request asks for. Returns the stream's new end. */
function openSocket(exchange, { data, headers } = {}) {
  const pairs = headers === undefined ? [] : [...new Headers(headers)];
  const stream = new SocketStream(exchange.link, exchange.id, exchange.service, exchange.head);
  stream.socket = new ServerWebSocket(stream, data);
  if (exchange.takeOver !== null) {
    stream.resumed = true;
    stream.topics = new Set(exchange.takeOver.topics);
  }
  stream.accept(pairs);
  process.nextTick(() => stream.opened());
  return stream;
}

/** What the front says of an open socket that this worker is to take over. */
function readTakeOver(buffer, start, end) {
  const texts = [];
  for (let at = start; at < end; ) {
    const next = at + 2 + (at + 2 <= end ? buffer.readUInt16LE(at) : end);
    if (next > end) throw new ProtocolError('a REQUEST to take over that is cut short');
    texts.push(buffer.utf8Slice(at + 2, next));
    at = next;
  }
  // The subprotocol, then each topic and the name by which the socket has joined it.
  return { subprotocol: texts[0] ?? '', topics: texts.filter((_, index) => index % 2 === 1) };
}

module.exports = { Handlers, openSocket, readTakeOver };
