'use strict';
// Values to CBOR, by the table in protocol/calls.md, straight into the buffer that will be written to the socket. It
// knows nothing of links; what must stay where it is goes through `handles`.

const { types } = require('node:util');

const { FrameWriter } = require('../frames.js');
const { TAGS, bytesOf } = require('./arrays.js');
const arrow = require('./arrow.js');
const { CannotCross, factsOf } = require('./errors.js');
const { checkReleased } = require('./memory.js');
const { RemoteObject } = require('./remote.js');
const {
  ArrowTable, Decimal, Duration, NdArray, PlainDate, PlainDateTime, PlainTime, Uuid, ZonedDate,
} = require('./types.js');

const DEPTH_MAX = 200;
/** Strings up to this length are written character by character, which is faster than a call into C++. */
const SHORT_STRING_MAX = 40;
/** Strings up to this length get room for the most bytes they can take; longer ones are measured first. */
const ROOMY_STRING_MAX = 4096;
const TWO_32 = 0x1_0000_0000;

const float64 = new Float64Array(1);
const float64Bytes = new Uint8Array(float64.buffer);

const headBytes = (number) => (number < 24 ? 1 : number < 0x100 ? 2 : number < 0x10000 ? 3 : number < TWO_32 ? 5 : 9);

/** A `FrameWriter` that also writes values, and whose buffer grows within a frame. */
class ValueWriter extends FrameWriter {
  /** `handles` may be null: then functions and objects cannot cross. */
  constructor(handles) {
    super(null);
    this.handles = handles;
    // Where in the value we are, for errors: the key at each depth, or null where a level has no name.
    this.trail = [];
    this.depth = 0;
    this.root = '';
  }

  /** Room for as many bytes more. What is in the buffer stays, for a frame may have begun. */
  reserve(bytes) {
    const wanted = this.length + bytes;
    if (wanted <= this.buffer.length) return;
    const larger = Buffer.allocUnsafeSlow(Math.max(wanted, this.buffer.length * 2));
    this.buffer.copy(larger, 0, 0, this.length);
    this.buffer = larger;
  }

  /** What a CALL says after its member. Throws `CannotCross`; what has been written stays to be cut off. */
  arguments(args, kwargs) {
    this.root = 'args';
    this.trail[0] = null;
    this.depth = 1;
    this.head(4, args.length);
    for (let i = 0; i < args.length; i++) {
      this.trail[1] = i;
      this.value(args[i]);
    }
    if (kwargs === undefined) return;
    this.root = 'kwargs';
    this.depth = 0;
    this.map(kwargs);
  }

  /** One value; `root` is its name in errors. */
  whole(value, root) {
    this.root = root;
    this.trail[0] = null;
    this.depth = 0;
    this.value(value);
  }

  value(value) {
    switch (typeof value) {
      case 'string':
        return this.text(value);
      case 'number':
        return this.number(value);
      case 'boolean':
        return this.byte(value ? 0xf5 : 0xf4);
      case 'undefined':
        return this.byte(0xf7);
      case 'object':
        return value === null ? this.byte(0xf6) : this.object(value);
      case 'bigint':
        return this.bigint(value);
      case 'function':
        return this.reference(value, 'function', value.name);
      default:
        return this.refuse(typeof value);
    }
  }

  byte(byte) {
    this.reserve(1);
    this.buffer[this.length++] = byte;
  }

  /** Major type and argument in the shortest form. */
  head(major, number) {
    this.reserve(9);
    const buffer = this.buffer;
    const type = major << 5;
    let at = this.length;
    if (number < 24) {
      buffer[at++] = type | number;
    } else if (number < 0x100) {
      buffer[at++] = type | 24;
      buffer[at++] = number;
    } else if (number < 0x10000) {
      buffer[at++] = type | 25;
      buffer[at++] = number >>> 8;
      buffer[at++] = number;
    } else if (number < TWO_32) {
      buffer[at++] = type | 26;
      at = buffer.writeUInt32BE(number, at);
    } else {
      buffer[at++] = type | 27;
      at = buffer.writeUInt32BE(Math.floor(number / TWO_32), at);
      at = buffer.writeUInt32BE(number % TWO_32, at);
    }
    this.length = at;
  }

  tag(number) {
    if (++this.depth > DEPTH_MAX) this.tooDeep();
    this.trail[this.depth] = null;
    this.head(6, number);
  }

  number(value) {
    const small = value | 0;
    if (small === value && (small !== 0 || 1 / value > 0)) {
      if (small >= 0) this.head(0, small);
      else this.head(1, -1 - small);
    } else if (Number.isInteger(value) && value !== 0 && Math.abs(value) <= 2 ** 53) {
      if (value > 0) this.head(0, value);
      else this.head(1, -1 - value);
    } else {
      this.float(value);
    }
  }

  float(value) {
    this.reserve(9);
    const buffer = this.buffer;
    const at = this.length;
    float64[0] = value;
    buffer[at] = 0xfb;
    for (let i = 0; i < 8; i++) buffer[at + 1 + i] = float64Bytes[7 - i];
    this.length = at + 9;
  }

  bigint(value) {
    const negative = value < 0n;
    const number = negative ? -1n - value : value;
    if (number <= 0xffffffffn) {
      this.head(negative ? 1 : 0, Number(number));
    } else if (number <= 0xffffffffffffffffn) {
      this.reserve(9);
      this.buffer[this.length] = negative ? 0x3b : 0x1b;
      this.length = this.buffer.writeBigUInt64BE(number, this.length + 1);
    } else {
      const hex = number.toString(16);
      this.tag(negative ? 3 : 2);
      this.octets(Buffer.from(hex.length % 2 === 0 ? hex : `0${hex}`, 'hex'));
      this.depth--;
    }
  }

  text(value) {
    const length = value.length;
    if (length > SHORT_STRING_MAX) return this.longText(value);
    this.reserve(SHORT_STRING_MAX + 2);
    const buffer = this.buffer;
    let at = this.length + (length < 24 ? 1 : 2);
    for (let i = 0; i < length; i++) {
      const unit = value.charCodeAt(i);
      if (unit > 0x7f) return this.longText(value);
      buffer[at++] = unit;
    }
    if (length < 24) {
      buffer[this.length] = 0x60 | length;
    } else {
      buffer[this.length] = 0x78;
      buffer[this.length + 1] = length;
    }
    this.length = at;
  }

  longText(value) {
    const length = value.length;
    this.reserve(9 + (length <= ROOMY_STRING_MAX ? length * 3 : Buffer.byteLength(value)));
    const at = this.length;
    // If it is ASCII, as it often is, it stays where it is written now.
    const guess = at + headBytes(length);
    const bytes = this.buffer.utf8Write(value, guess);
    if (bytes !== length && !value.isWellFormed()) return this.surrogates(value);
    const place = at + headBytes(bytes);
    if (place !== guess) this.buffer.copyWithin(place, guess, guess + bytes);
    this.head(3, bytes);
    this.length += bytes;
  }

  /** A string with lone surrogates, as WTF-8 (tag 273): what UTF-8 would make of them, had it not forbidden it. */
  surrogates(value) {
    const pieces = [];
    // By code point: two surrogates that belong together are one.
    for (const point of value) {
      const code = point.codePointAt(0);
      if (code < 0xd800 || code > 0xdfff) pieces.push(Buffer.from(point));
      else pieces.push(Buffer.from([0xe0 | (code >> 12), 0x80 | ((code >> 6) & 0x3f), 0x80 | (code & 0x3f)]));
    }
    this.tag(273);
    this.octets(Buffer.concat(pieces));
    this.depth--;
  }

  /** A byte string. */
  octets(bytes) {
    const length = bytes.length;
    this.reserve(9 + length);
    this.head(2, length);
    this.buffer.set(bytes, this.length);
    this.length += length;
  }

  /** The bytes of a view: where they lie, if that is memory that both sides have, or else themselves. */
  memory(view) {
    const reference = this.handles === null || this.handles.memory === null ? checkReleased(view) : this.handles.memory.lend(view);
    if (reference === null) return this.octets(bytesOf(view));
    const { count, numbers, shared } = reference;
    this.tag(39004);
    this.head(4, count === 7 ? 8 : count);
    for (let i = 0; i < count; i++) this.head(0, numbers[i]);
    if (count === 7) this.byte(shared ? 0xf5 : 0xf4);
    this.depth--;
  }

  object(value) {
    if (Array.isArray(value)) return this.array(value);
    const prototype = Object.getPrototypeOf(value);
    if (prototype === Object.prototype || prototype === null) {
      if (value[Symbol.asyncIterator] === undefined) return this.map(value);
    } else {
      const write = WRITERS.get(prototype);
      if (write !== undefined) return write(this, value);
    }
    this.other(value);
  }

  array(value) {
    const length = value.length;
    this.head(4, length);
    this.enter();
    for (let i = 0; i < length; i++) {
      this.trail[this.depth] = i;
      this.value(value[i]);
    }
    this.depth--;
  }

  map(value) {
    const keys = Object.keys(value);
    this.head(5, keys.length);
    this.enter();
    for (let i = 0; i < keys.length; i++) {
      const key = keys[i];
      this.trail[this.depth] = key;
      this.text(key);
      this.value(value[key]);
    }
    this.depth--;
  }

  enter() {
    if (++this.depth > DEPTH_MAX) this.tooDeep();
  }

  /** What no table of prototypes finds: subclasses, other realms, and what stays where it is. */
  other(value) {
    if (value instanceof RemoteObject) return this.reference(value, 'object', RemoteObject.nameOf(value));
    if (typeof value[Symbol.asyncIterator] === 'function') return this.reference(value, 'stream', nameOf(value));
    if (typeof value.next === 'function' && typeof value[Symbol.iterator] === 'function') {
      return this.reference(value, 'stream', nameOf(value));
    }
    if (types.isNativeError(value) || value instanceof Error) return this.error(value);
    for (const [is, write] of KINDS) if (is(value)) return write(this, value);
    const outer = Object.getPrototypeOf(value);
    if (outer !== null && Object.getPrototypeOf(outer) === null && Object.hasOwn(outer, 'isPrototypeOf')) return this.map(value);
    if (arrow.looksLikeTable(value)) {
      const bytes = arrow.bytesOf(value);
      if (bytes !== null) return writeArrow(this, bytes);
      this.refuse('a table of an unknown copy of apache-arrow', "pass new ArrowTable(tableToIPC(table, 'stream'))");
    }
    if (types.isPromise(value)) this.refuse('a Promise', 'await it first');
    this.refuse(nameOf(value) || 'this object');
  }

  reference(value, kind, name) {
    if (this.handles === null) this.refuse(kind === 'function' ? 'a function' : `a ${kind}`);
    const home = this.handles.homeOf(value);
    this.tag(home === 0 ? 39006 : 39008);
    this.head(4, home === 0 ? 3 : 1);
    this.head(0, home === 0 ? this.handles.give(value, kind) : home);
    if (home === 0) {
      this.text(kind);
      this.text(typeof name === 'string' ? name : '');
    }
    this.depth--;
  }

  error(error) {
    this.tag(39007);
    this.errorMap(error, []);
    this.depth--;
  }

  /** The map that ERROR and tag 39007 hold; `outer` are the errors it is a cause of. */
  errorMap(error, outer) {
    const facts = factsOf(error);
    const within = [...outer, error];
    const follows = (inner) => inner !== undefined && inner !== null && within.length < 16 && !within.includes(inner);
    const cause = follows(facts.cause) ? 1 : 0;
    const coded = facts.code === undefined ? 0 : 1;
    this.head(5, 8 + cause + coded);
    for (const key of ['language', 'type', 'message']) this.pair(key, facts[key]);
    if (coded === 1) this.pair('code', facts.code);
    this.pair('frames', facts.frames);
    this.pair('text', facts.text);
    if (cause === 1) {
      this.text('cause');
      this.errorMap(facts.cause, within);
    }
    const suppressed = facts.suppressed.filter(follows);
    this.text('suppressed');
    this.head(4, suppressed.length);
    for (const inner of suppressed) this.errorMap(inner, within);
    this.pair('notes', facts.notes);
    this.text('properties');
    this.properties(facts.properties);
  }

  pair(key, value) {
    this.text(key);
    this.value(value);
  }

  /** What can cross of an error's properties; the rest is left out. */
  properties(properties) {
    const { handles, depth } = this;
    // Nobody would ever let go of what hangs on an error.
    this.handles = null;
    const start = this.length;
    const crossing = Object.keys(properties).filter((key) => {
      try {
        this.value(properties[key]);
        return true;
      } catch {
        return false;
      } finally {
        this.length = start;
        this.depth = depth;
      }
    });
    this.head(5, crossing.length);
    try {
      for (const key of crossing) this.pair(key, properties[key]);
    } finally {
      this.handles = handles;
    }
  }

  /** Throws; says where the value stands and what it is. */
  refuse(what, hint) {
    throw new CannotCross(`${this.where()}: ${what} cannot cross${hint === undefined ? '' : `; ${hint}`}`);
  }

  tooDeep() {
    throw new CannotCross(`${this.where(8)}…: nested more than ${DEPTH_MAX} levels deep, or in a cycle`);
  }

  where(levels = this.depth) {
    let path = this.root;
    for (let depth = 0; depth <= Math.min(levels, this.depth); depth++) {
      const key = this.trail[depth];
      if (key === null || key === undefined) continue;
      if (typeof key === 'string') path += /^[\p{ID_Start}$_][\p{ID_Continue}$]*$/u.test(key) ? `.${key}` : `[${JSON.stringify(key)}]`;
      else path += `[${key}]`;
    }
    return path;
  }
}

function nameOf(value) {
  const name = value.constructor?.name;
  return typeof name === 'string' ? name : '';
}

function writeBytes(writer, value) {
  writer.memory(ArrayBuffer.isView(value) ? value : new Uint8Array(value));
}

/** The one place where typed arrays are written. */
function writeArray(writer, value) {
  for (const [Class, tag] of TAGS) {
    if (!(value instanceof Class)) continue;
    writer.tag(tag);
    writer.memory(value);
    writer.depth--;
    return;
  }
  writer.refuse(nameOf(value));
}

function writeNdArray(writer, value) {
  writer.tag(39003);
  writer.head(4, 3);
  writer.text(value.dtype);
  writer.array(value.shape);
  writer.memory(value.data);
  writer.depth--;
}

function writeMap(writer, value) {
  writer.tag(259);
  writer.head(5, value.size);
  writer.enter();
  for (const [key, item] of value) {
    writer.trail[writer.depth] = typeof key === 'string' || typeof key === 'number' ? key : null;
    writer.value(key);
    writer.value(item);
  }
  writer.depth -= 2;
}

function writeSet(writer, value) {
  writer.tag(258);
  writer.head(4, value.size);
  writer.enter();
  let i = 0;
  for (const item of value) {
    writer.trail[writer.depth] = i++;
    writer.value(item);
  }
  writer.depth -= 2;
}

function writeDate(writer, value) {
  const time = value.getTime();
  if (Number.isNaN(time)) writer.refuse('an invalid Date');
  const seconds = Math.floor(time / 1000);
  const zoned = value instanceof ZonedDate;
  writer.tag(1001);
  writer.head(5, 3);
  writer.byte(0x01);
  writer.number(seconds);
  writer.byte(0x25);
  writer.number((time - seconds * 1000) * 1000 + (zoned ? value.microsecond : 0));
  writer.byte(0x29);
  writer.text(zoned ? value.timeZone : 'UTC');
  writer.depth--;
}

function writeTagged(writer, tag, text) {
  writer.tag(tag);
  writer.text(text);
  writer.depth--;
}

function writeTime(writer, kind, value) {
  writer.tag(39001);
  writer.head(4, 2);
  writer.text(kind);
  writer.text(value.toString());
  writer.depth--;
}

function writeUuid(writer, value) {
  writer.tag(37);
  writer.octets(Buffer.from(value.toString().replaceAll('-', ''), 'hex'));
  writer.depth--;
}

function writeRegExp(writer, value) {
  if (/[ims]/.test(value.flags)) writer.refuse(`a RegExp with the flags "${value.flags}"`, 'put them into its source');
  // The pattern as it would be given to `new RegExp`: `source` is made for a literal.
  const pattern = value.source === '(?:)' ? '' : value.source.replace(/\\(.)/gs, (pair, escaped) => (escaped === '/' ? '/' : pair));
  writeTagged(writer, 35, pattern);
}

function writeArrow(writer, bytes) {
  writer.tag(39005);
  writer.memory(bytes);
  writer.depth--;
}

/** Tests for what may be a subclass or come from another realm. */
const KINDS = [
  [types.isUint8Array, writeBytes],
  [types.isTypedArray, writeArray],
  [types.isAnyArrayBuffer, writeBytes],
  [types.isMap, writeMap],
  [types.isSet, writeSet],
  [types.isDate, writeDate],
  [types.isRegExp, writeRegExp],
];

const WRITERS = new Map([
  [Uint8Array.prototype, writeBytes],
  [Buffer.prototype, writeBytes],
  [ArrayBuffer.prototype, writeBytes],
  ...[...TAGS.keys()].map((Class) => [Class.prototype, writeArray]),
  [NdArray.prototype, writeNdArray],
  [Map.prototype, writeMap],
  [Set.prototype, writeSet],
  [Date.prototype, writeDate],
  [ZonedDate.prototype, writeDate],
  [RegExp.prototype, writeRegExp],
  [PlainDate.prototype, (writer, value) => writeTagged(writer, 1004, value.toString())],
  [PlainDateTime.prototype, (writer, value) => writeTime(writer, 'datetime', value)],
  [PlainTime.prototype, (writer, value) => writeTime(writer, 'time', value)],
  [Duration.prototype, (writer, value) => writeTime(writer, 'duration', value)],
  [Decimal.prototype, (writer, value) => writeTagged(writer, 39002, value.toString())],
  [Uuid.prototype, writeUuid],
  [ArrowTable.prototype, (writer, value) => writeArrow(writer, value.bytes)],
]);

module.exports = { DEPTH_MAX, ValueWriter };
