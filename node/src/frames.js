'use strict';
// The frames of protocol/README.md as bytes. It knows nothing of sockets, streams or HTTP's rules.

const { ContractError, ProtocolError } = require('./errors.js');

const VERSION = 1;
const HEADER_BYTES = 12;
const PAYLOAD_BYTES_MAX = 1_048_576;
/** Body bytes a stream may send in each direction before the first CREDIT. */
const INITIAL_CREDIT_BYTES = 262_144;
/** What a WS_MESSAGE uses of its stream's credit beside its bytes. */
const MESSAGE_COST = 64;
/** What may be published on a link before the first CREDIT for stream 0. */
const PUBLISH_CREDIT_BYTES = 2_097_152;
/** Longest reason of a WS_CLOSE. */
const CLOSE_REASON_BYTES_MAX = 123;
/** Body bytes we put into one frame, so that one stream's download does not hold up the others on its link. */
const BODY_FRAME_BYTES = 65_536;
const RESET_TEXT_BYTES_MAX = 65_536;
/** Room a writer starts with: the responses of one turn of the loop under load; larger frames get larger buffers. */
const OUTPUT_BYTES = 65_536;

const TYPE = Object.freeze({
  HELLO: 0x01,
  READY: 0x02,
  FAILED: 0x03,
  DRAIN: 0x04,
  PING: 0x05,
  PONG: 0x06,
  REQUEST: 0x10,
  RESPONSE: 0x11,
  DATA: 0x12,
  TRAILERS: 0x13,
  RESET: 0x14,
  CREDIT: 0x15,
  INFORMATIONAL: 0x16,
  TUNNEL: 0x17,
  WSACCEPT: 0x20,
  WSMESSAGE: 0x21,
  WSCLOSE: 0x22,
  RESOLVE: 0x30,
  RESOLVED: 0x31,
  PEERS: 0x32,
  BIND: 0x33,
  CALL: 0x34,
  RESULT: 0x35,
  ERROR: 0x36,
  ITEM: 0x37,
  CANCEL: 0x38,
  QUEUED: 0x39,
  STARTED: 0x3a,
  RELEASE: 0x3b,
  MEMORY: 0x3c,
  RETURN: 0x3d,
  FORGET: 0x3e,
  MARK: 0x3f,
  SUBSCRIBE: 0x40,
  UNSUBSCRIBE: 0x41,
  PUBLISH: 0x42,
  MESSAGE: 0x43,
  PRESENCE: 0x44,
  QUERY: 0x45,
  ANSWER: 0x46,
});

/** Some bits mean different things on different frames. */
const FLAG = Object.freeze({ END: 0x01, UPGRADE: 0x02, WEBSOCKET: 0x04, TAKE_OVER: 0x08, TEXT: 0x02, PRESENCE: 0x04, JOINED: 0x01 });

const RESET = Object.freeze({
  NO_ERROR: 0,
  CANCELLED: 1,
  INTERNAL: 2,
  DEADLINE: 3,
  REFUSED: 4,
  PROTOCOL: 5,
  TOO_LARGE: 6,
});

/**
 * The fields of one message on their way into a frame: their lengths, and all names and values in one string, so that
 * a whole head costs one copy into the output. One instance serves every message, as heads are written at once.
 */
class Fields {
  constructor() {
    this.count = 0;
    this.text = '';
    this.lengths = new Uint16Array(256);
  }

  clear() {
    this.count = 0;
    this.text = '';
  }

  /** `name` and `value` are Latin-1 strings already checked for characters HTTP forbids. */
  add(name, value) {
    const at = this.count * 2;
    if (at === this.lengths.length) this.#grow();
    if (name.length > 0xffff || value.length > 0xffff) {
      throw new ContractError(`the response field "${name.slice(0, 64)}" is longer than 65535 bytes`);
    }
    this.lengths[at] = name.length;
    this.lengths[at + 1] = value.length;
    this.text += name + value;
    this.count++;
  }

  #grow() {
    if (this.count >= 0xffff) throw new ContractError('a message has more than 65535 fields');
    const lengths = new Uint16Array(this.lengths.length * 2);
    lengths.set(this.lengths);
    this.lengths = lengths;
  }
}

/**
 * Frames one behind the other in one buffer. A frame is begun, its payload appended, and finished; `onFull` is called
 * when the buffer has no room left and must empty it with `take`.
 */
class FrameWriter {
  constructor(onFull) {
    this.buffer = Buffer.allocUnsafeSlow(OUTPUT_BYTES);
    this.length = 0;
    this.onFull = onFull;
    this.spares = [];
  }

  /** The frames written so far; the writer goes on in another buffer until `giveBack`. */
  take() {
    const taken = this.buffer.subarray(0, this.length);
    this.buffer = this.spares.pop() ?? Buffer.allocUnsafeSlow(OUTPUT_BYTES);
    this.length = 0;
    return taken;
  }

  /** Says that bytes from `take` have been written out, so that their memory may be used again. */
  giveBack(taken) {
    // Two spares are what a busy link needs: one being filled, one in the kernel's hands.
    if (this.spares.length < 2 && taken.buffer.byteLength === OUTPUT_BYTES) this.spares.push(Buffer.from(taken.buffer));
  }

  reserve(bytes) {
    if (this.length + bytes <= this.buffer.length) return;
    if (this.length > 0) this.onFull();
    if (bytes > this.buffer.length) this.buffer = Buffer.allocUnsafeSlow(bytes);
  }

  /** Starts a frame with room for `payloadMax` bytes. Returns what `finish` wants. */
  begin(type, stream, aux, payloadMax) {
    this.reserve(HEADER_BYTES + payloadMax);
    const buffer = this.buffer;
    const start = this.length;
    buffer[start + 4] = stream;
    buffer[start + 5] = stream >>> 8;
    buffer[start + 6] = stream >>> 16;
    buffer[start + 7] = stream >>> 24;
    buffer[start + 8] = type;
    buffer[start + 10] = aux;
    buffer[start + 11] = aux >>> 8;
    this.length = start + HEADER_BYTES;
    return start;
  }

  finish(start, flags) {
    const buffer = this.buffer;
    const length = this.length - start - HEADER_BYTES;
    buffer[start] = length;
    buffer[start + 1] = length >>> 8;
    buffer[start + 2] = length >>> 16;
    buffer[start + 3] = length >>> 24;
    buffer[start + 9] = flags;
  }

  /** Appends to the frame begun last; the room was reserved. */
  appendUtf8(text) {
    this.length += this.buffer.utf8Write(text, this.length);
  }

  appendBytes(bytes) {
    this.buffer.set(bytes, this.length);
    this.length += bytes.length;
  }

  /** A RESPONSE's head, with room for `bodyMax` bytes of body. `reason` is empty for the standard phrase. */
  beginResponse(stream, status, reason, fields, bodyMax) {
    const count = fields.count;
    const headBytes = 4 + 4 * count + reason.length + fields.text.length;
    if (headBytes + bodyMax > PAYLOAD_BYTES_MAX) {
      throw new ContractError(`the response's fields take ${headBytes} bytes; at most ${PAYLOAD_BYTES_MAX - bodyMax} fit`);
    }
    const start = this.begin(TYPE.RESPONSE, stream, status, headBytes + bodyMax);
    const buffer = this.buffer;
    let at = this.length;
    buffer[at] = reason.length;
    buffer[at + 1] = reason.length >>> 8;
    buffer[at + 2] = count;
    buffer[at + 3] = count >>> 8;
    this.length = at + 4;
    this.#appendFields(fields, reason);
    return start;
  }

  /** A whole frame whose payload is a field list: TRAILERS or INFORMATIONAL. */
  fieldList(type, stream, aux, flags, fields) {
    const count = fields.count;
    const bytes = 2 + 4 * count + fields.text.length;
    if (bytes > PAYLOAD_BYTES_MAX) throw new ContractError(`a list of fields takes ${bytes} bytes; at most ${PAYLOAD_BYTES_MAX} fit`);
    const start = this.begin(type, stream, aux, bytes);
    this.buffer[this.length] = count;
    this.buffer[this.length + 1] = count >>> 8;
    this.length += 2;
    this.#appendFields(fields, '');
    this.finish(start, flags);
  }

  #appendFields(fields, reason) {
    const buffer = this.buffer;
    const lengths = fields.lengths;
    let at = this.length;
    for (let i = 0, n = fields.count * 2; i < n; i++) {
      const length = lengths[i];
      buffer[at] = length;
      buffer[at + 1] = length >>> 8;
      at += 2;
    }
    this.length = at + buffer.latin1Write(reason + fields.text, at);
  }

  /** A whole frame of bytes. */
  bytes(type, stream, aux, flags, payload) {
    const start = this.begin(type, stream, aux, payload.length);
    this.appendBytes(payload);
    this.finish(start, flags);
  }

  /** A whole frame without payload. */
  empty(type, stream, aux, flags) {
    this.finish(this.begin(type, stream, aux, 0), flags);
  }

  /** A whole frame of JSON. */
  json(type, stream, aux, value) {
    this.bytes(type, stream, aux, 0, Buffer.from(JSON.stringify(value)));
  }

  credit(stream, bytes) {
    const start = this.begin(TYPE.CREDIT, stream, 0, 4);
    this.buffer.writeUInt32LE(bytes, this.length);
    this.length += 4;
    this.finish(start, 0);
  }

  reset(stream, code, text) {
    let bytes = Buffer.from(text);
    if (bytes.length > RESET_TEXT_BYTES_MAX) {
      // Cut where a character begins.
      let end = RESET_TEXT_BYTES_MAX;
      while ((bytes[end] & 0xc0) === 0x80) end--;
      bytes = bytes.subarray(0, end);
    }
    this.bytes(TYPE.RESET, stream, code, 0, bytes);
  }
}

/**
 * Cuts what a socket delivers into frames. `onFrame(type, flags, stream, aux, buffer, start, end)` gets each frame's
 * payload as a range of a buffer that is only valid during the call.
 */
class FrameReader {
  constructor(onFrame) {
    this.onFrame = onFrame;
    // The beginning of a frame whose end has not arrived.
    this.partial = null;
    this.partialLength = 0;
    /** Bytes of that frame in all, or of its header while that is incomplete. */
    this.partialWanted = 0;
  }

  /** Throws `ProtocolError` on a frame that is too long; what `onFrame` throws passes through. */
  read(buffer, length) {
    let at = 0;
    if (this.partialLength > 0) {
      at = this.#complete(buffer, length);
      if (at < 0) return;
    }
    while (length - at >= HEADER_BYTES) {
      const payload = payloadLength(buffer, at);
      const end = at + HEADER_BYTES + payload;
      if (end > length) break;
      this.#emit(buffer, at, end);
      at = end;
    }
    if (at < length) this.#keep(buffer, at, length);
  }

  #emit(buffer, at, end) {
    const stream = (buffer[at + 4] | (buffer[at + 5] << 8) | (buffer[at + 6] << 16) | (buffer[at + 7] << 24)) >>> 0;
    this.onFrame(
      buffer[at + 8],
      buffer[at + 9],
      stream,
      buffer[at + 10] | (buffer[at + 11] << 8),
      buffer,
      at + HEADER_BYTES,
      end,
    );
  }

  #keep(buffer, at, length) {
    const wanted = length - at >= HEADER_BYTES ? HEADER_BYTES + payloadLength(buffer, at) : HEADER_BYTES;
    if (this.partial === null || this.partial.length < wanted) this.partial = Buffer.allocUnsafeSlow(Math.max(wanted, 4096));
    buffer.copy(this.partial, 0, at, length);
    this.partialLength = length - at;
    this.partialWanted = wanted;
  }

  /** Completes the kept frame from new bytes. Returns how many it took, or -1 when they were not enough. */
  #complete(buffer, length) {
    let at = 0;
    if (this.partialLength < HEADER_BYTES) {
      at = Math.min(HEADER_BYTES - this.partialLength, length);
      buffer.copy(this.partial, this.partialLength, 0, at);
      this.partialLength += at;
      if (this.partialLength < HEADER_BYTES) return -1;
    }
    const wanted = HEADER_BYTES + payloadLength(this.partial, 0);
    this.partialWanted = wanted;
    if (this.partial.length < wanted) {
      const larger = Buffer.allocUnsafeSlow(wanted);
      this.partial.copy(larger, 0, 0, this.partialLength);
      this.partial = larger;
    }
    const taken = Math.min(wanted - this.partialLength, length - at);
    buffer.copy(this.partial, this.partialLength, at, at + taken);
    this.partialLength += taken;
    if (this.partialLength < wanted) return -1;
    const frame = this.partial;
    this.partialLength = 0;
    this.partialWanted = 0;
    // A long frame's buffer is let go, lest every link keep a megabyte for ever.
    if (frame.length > OUTPUT_BYTES * 2) this.partial = null;
    this.#emit(frame, 0, wanted);
    return at + taken;
  }
}

function payloadLength(buffer, at) {
  const length = (buffer[at] | (buffer[at + 1] << 8) | (buffer[at + 2] << 16) | (buffer[at + 3] << 24)) >>> 0;
  if (length > PAYLOAD_BYTES_MAX) {
    throw new ProtocolError(`a frame of ${length} bytes; at most ${PAYLOAD_BYTES_MAX} are allowed`);
  }
  return length;
}

function uint16(buffer, at) {
  return buffer[at] | (buffer[at + 1] << 8);
}

/** A field list as `[name, value, name, value, …]`, as in `IncomingMessage.rawHeaders`. */
function readFieldList(buffer, start, end) {
  if (end - start < 2) throw new ProtocolError('a field list without its count');
  const count = uint16(buffer, start);
  const from = start + 2 + 4 * count;
  if (from > end) throw new ProtocolError('a field list shorter than its count says');
  const text = buffer.latin1Slice(from, end);
  const list = new Array(count * 2);
  let offset = 0;
  for (let i = 0; i < list.length; i++) {
    const next = offset + uint16(buffer, start + 2 + 2 * i);
    list[i] = text.slice(offset, next);
    offset = next;
  }
  if (offset !== text.length) throw new ProtocolError('a field list whose lengths do not add up');
  return list;
}

const METHODS = new Map(['GET', 'POST', 'PUT', 'DELETE', 'PATCH', 'HEAD', 'OPTIONS'].map((name) => [name, name]));

/**
 * A REQUEST's head. The strings are cut from one string, decoded once; the fields are cut when asked for.
 */
class RequestHead {
  constructor(buffer, start, end) {
    if (end - start < 20) throw new ProtocolError('a request head that ends too early');
    const count = uint16(buffer, start + 6);
    const from = start + 20 + 4 * count;
    if (from > end) throw new ProtocolError('a request head shorter than its field count says');
    const methodEnd = uint16(buffer, start + 8);
    const targetEnd = methodEnd + uint16(buffer, start + 10);
    const remoteEnd = targetEnd + uint16(buffer, start + 12);
    const localEnd = remoteEnd + uint16(buffer, start + 14);
    const prefixEnd = localEnd + uint16(buffer, start + 16);
    const idEnd = prefixEnd + uint16(buffer, start + 18);
    const tableStart = start + 20;
    let total = idEnd;
    for (let at = tableStart; at < from; at += 2) total += buffer[at] | (buffer[at + 1] << 8);
    if (from + total > end) throw new ProtocolError('a request head whose lengths do not add up');
    // The table of lengths stays in front of the text, to be read by whoever asks for the fields.
    const text = buffer.latin1Slice(tableStart, from + total);
    const origin = from - tableStart;
    const method = text.slice(origin, origin + methodEnd);
    this.version = buffer[start];
    this.secure = buffer[start + 1] === 1;
    this.remotePort = uint16(buffer, start + 2);
    this.localPort = uint16(buffer, start + 4);
    this.method = METHODS.get(method) ?? method;
    this.target = text.slice(origin + methodEnd, origin + targetEnd);
    this.text = text;
    this.remoteStart = origin + targetEnd;
    this.remoteEnd = origin + remoteEnd;
    this.localEnd = origin + localEnd;
    this.prefixEnd = origin + prefixEnd;
    this.fieldsStart = origin + idEnd;
    this.fieldCount = count;
    /** Where the first body bytes begin in the frame's buffer. */
    this.bodyStart = from + total;
  }

  get remoteAddress() {
    return this.text.slice(this.remoteStart, this.remoteEnd);
  }

  get localAddress() {
    return this.text.slice(this.remoteEnd, this.localEnd);
  }

  /** What the route stripped from the path, or empty. */
  get prefix() {
    return this.text.slice(this.localEnd, this.prefixEnd);
  }

  get requestId() {
    return this.text.slice(this.prefixEnd, this.fieldsStart);
  }

  /** `[name, value, name, value, …]` with the names as the client wrote them. */
  rawFields() {
    const { text } = this;
    const list = new Array(this.fieldCount * 2);
    let offset = this.fieldsStart;
    for (let i = 0, at = 0; i < list.length; i++, at += 2) {
      const next = offset + (text.charCodeAt(at) | (text.charCodeAt(at + 1) << 8));
      list[i] = text.slice(offset, next);
      offset = next;
    }
    return list;
  }

  /** The value of the first field with this name in lower case, or undefined. */
  field(name) {
    const { text } = this;
    let offset = this.fieldsStart;
    for (let i = 0, at = 0; i < this.fieldCount; i++, at += 4) {
      const nameLength = text.charCodeAt(at) | (text.charCodeAt(at + 1) << 8);
      const valueLength = text.charCodeAt(at + 2) | (text.charCodeAt(at + 3) << 8);
      if (nameLength === name.length && text.slice(offset, offset + nameLength).toLowerCase() === name) {
        return text.slice(offset + nameLength, offset + nameLength + valueLength);
      }
      offset += nameLength + valueLength;
    }
    return undefined;
  }
}

module.exports = {
  BODY_FRAME_BYTES,
  CLOSE_REASON_BYTES_MAX,
  FLAG,
  Fields,
  FrameReader,
  FrameWriter,
  HEADER_BYTES,
  INITIAL_CREDIT_BYTES,
  MESSAGE_COST,
  PAYLOAD_BYTES_MAX,
  PUBLISH_CREDIT_BYTES,
  RESET,
  RequestHead,
  TYPE,
  VERSION,
  readFieldList,
};
