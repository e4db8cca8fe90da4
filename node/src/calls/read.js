'use strict';
// CBOR to values, by the table in protocol/calls.md. What a peer sends is believed nothing: `ProtocolError` for what is
// no value, `CannotCross` for what is one and cannot be had here. What must stay where it is comes through `handles`.

const { isUtf8 } = require('node:buffer');

const { ProtocolError } = require('../errors.js');
const { CLASSES, arrayOf } = require('./arrays.js');
const arrow = require('./arrow.js');
const { CannotCross, errorOf } = require('./errors.js');
const { isShared, releasable } = require('./memory.js');
const {
  ARRAYS, Decimal, Duration, NdArray, PlainDate, PlainDateTime, PlainTime, Uuid, ZonedDate,
} = require('./types.js');

const DEPTH_MAX = 200;
/** Strings up to this length are looked at byte by byte; most are ASCII, which is then cut without decoding. */
const SHORT_STRING_MAX = 64;
/**
 * Strings up to this length are cut out of a longer one: V8 copies them, where it would keep the whole alive for the sake
 * of a longer piece. Cutting is several times as fast as a call into C++.
 */
const CUT_MAX = 12;
const WINDOW_BYTES = 4096;
const KEY_BYTES_MAX = 32;
/** Keys of objects that have been seen, by a hash of their bytes, so that a busy shape's are made once. */
const KEYS_KEPT = 1024;
const TWO_32 = 0x1_0000_0000;
/** Longest a Date can be from 1970, in ms (ECMA-262 §21.4.1.1). */
const TIME_MAX = 8.64e15;

const keys = new Array(KEYS_KEPT).fill('');

// What is being read. Reading calls no code of the program, so one place serves all links.
const NOTHING = Buffer.alloc(0);
let source = NOTHING;
let at = 0;
let limit = 0;
let depth = 0;
let handles = null;
// A stretch of the source as a string, of which short ones are cut.
let window = '';
let windowStart = 0;

function begin(buffer, start, end, whose) {
  source = buffer;
  at = start;
  limit = end;
  depth = 0;
  handles = whose;
  window = '';
  windowStart = start;
}

function finish() {
  if (at !== limit) malformed(`${limit - at} bytes after a value`);
  source = NOTHING;
}

/** One value, which fills the range. */
function readValue(buffer, start, end, whose) {
  begin(buffer, start, end, whose);
  const value = read();
  finish();
  return value;
}

/** The arguments of a CALL: `{ args, kwargs }`. */
function readArguments(buffer, start, end, whose, withKwargs) {
  begin(buffer, start, end, whose);
  const args = read();
  if (!Array.isArray(args)) malformed('arguments that are no array');
  const kwargs = withKwargs ? read() : undefined;
  if (withKwargs && (typeof kwargs !== 'object' || kwargs === null || Object.getPrototypeOf(kwargs) !== Object.prototype)) {
    malformed('keyword arguments that are no map');
  }
  finish();
  return { args, kwargs };
}

/** A CBOR sequence (RFC 8742): pushes each value. */
function readSequence(buffer, start, end, whose, values) {
  begin(buffer, start, end, whose);
  while (at < limit) values.push(read());
  finish();
}

/** The payload of an ERROR, of which `errorOf` makes an `Error` where it is awaited. */
function readFacts(buffer, start, end, whose) {
  begin(buffer, start, end, whose);
  const facts = read();
  finish();
  return checkFacts(facts);
}

function malformed(what) {
  throw new ProtocolError(`${what}, which is no value`);
}

function need(bytes) {
  if (bytes > limit - at) malformed('a value that ends too early');
}

/** The argument of a head whose first byte has been taken. */
function argument(info) {
  if (info < 24) return info;
  if (info === 24) {
    need(1);
    return source[at++];
  }
  if (info === 25) {
    need(2);
    at += 2;
    return (source[at - 2] << 8) | source[at - 1];
  }
  if (info === 26) {
    need(4);
    at += 4;
    return source.readUInt32BE(at - 4);
  }
  if (info !== 27) malformed('an indefinite length or a reserved argument');
  need(8);
  at += 8;
  return source.readUInt32BE(at - 8) * TWO_32 + source.readUInt32BE(at - 4);
}

function read() {
  need(1);
  const first = source[at++];
  const info = first & 31;
  switch (first >>> 5) {
    case 0: {
      if (info < 24) return info;
      const number = argument(info);
      return number <= Number.MAX_SAFE_INTEGER ? number : source.readBigUInt64BE(at - 8);
    }
    case 1: {
      const number = argument(info);
      return number < Number.MAX_SAFE_INTEGER ? -1 - number : -1n - source.readBigUInt64BE(at - 8);
    }
    case 2: {
      const start = skip(argument(info));
      return Buffer.from(source.subarray(start, at));
    }
    case 3:
      return text(argument(info));
    case 4:
      return array(argument(info));
    case 5:
      return object(argument(info));
    case 6:
      return tagged(argument(info));
    default:
      return simple(first);
  }
}

/** Passes over bytes; returns where they began. */
function skip(length) {
  need(length);
  at += length;
  return at - length;
}

function text(length) {
  const start = skip(length);
  if (length <= SHORT_STRING_MAX) {
    let i = start;
    while (i < at && source[i] < 0x80) i++;
    if (i === at) return length <= CUT_MAX ? cut(start) : source.latin1Slice(start, at);
  }
  const value = source.utf8Slice(start, at);
  // What is no UTF-8 has been replaced.
  if (value.includes('\ufffd') && !isUtf8(source.subarray(start, at))) malformed('text that is not UTF-8');
  return value;
}

/** ASCII from `start` to where we are. */
function cut(start) {
  if (at > windowStart + window.length) {
    windowStart = start;
    window = source.latin1Slice(start, Math.min(start + WINDOW_BYTES, limit));
  }
  return window.slice(start - windowStart, at - windowStart);
}

function array(length) {
  need(length);
  enter();
  const values = [];
  for (let i = 0; i < length; i++) values.push(read());
  depth--;
  return values;
}

function object(size) {
  need(size * 2);
  enter();
  const value = {};
  for (let i = 0; i < size; i++) {
    const name = key();
    if (name === '__proto__') Object.defineProperty(value, name, { value: read(), writable: true, enumerable: true, configurable: true });
    else value[name] = read();
  }
  depth--;
  return value;
}

function enter() {
  if (++depth > DEPTH_MAX) malformed(`more than ${DEPTH_MAX} levels`);
}

/** A key of a plain object: text, or tag 273 for one with lone surrogates. */
function key() {
  need(1);
  const first = source[at++];
  const length = first & 31;
  if (first >>> 5 === 3) {
    if (length === 0 || length >= 24 || length > KEY_BYTES_MAX) return text(argument(length));
    const start = skip(length);
    const hash =
      (Math.imul(Math.imul(Math.imul(source[start], 31) + source[start + (length >> 1)], 31) + source[at - 1], 31) + length) &
      (KEYS_KEPT - 1);
    const known = keys[hash];
    if (known.length === length) {
      let i = 0;
      while (i < length && known.charCodeAt(i) === source[start + i]) i++;
      if (i === length) return known;
    }
    at = start;
    const name = text(length);
    // As a property it becomes one of V8's unique strings, which compare by address. Only ASCII is found again.
    if (name.length === length) [keys[hash]] = Object.keys({ [name]: 0 });
    return name;
  }
  at--;
  if (first === 0xd9 && at + 2 < limit && source[at + 1] === 0x01 && source[at + 2] === 0x11) return read();
  return malformed('a map with a key that is no text');
}

function simple(first) {
  switch (first) {
    case 0xf4:
      return false;
    case 0xf5:
      return true;
    case 0xf6:
      return null;
    case 0xf7:
      return undefined;
    case 0xfb:
      return source.readDoubleBE(skip(8));
    default:
      return malformed('an unknown simple value or a float of fewer bits');
  }
}

function tagged(tag) {
  enter();
  const reader = TAGGED.get(tag);
  if (reader === undefined) malformed(`tag ${tag}`);
  let value;
  try {
    value = reader();
  } catch (error) {
    // The classes check what they are given.
    if (error instanceof RangeError || (error instanceof TypeError && !(error instanceof CannotCross))) malformed(error.message);
    throw error;
  }
  depth--;
  return value;
}

/** A head of the major type `major`, whose argument is returned. */
function headOf(major, what) {
  need(1);
  const first = source[at++];
  if (first >>> 5 !== major) malformed(`${what} of a wrong type`);
  return argument(first & 31);
}

function octetsOf(what) {
  return skip(headOf(2, what));
}

function textOf(what) {
  return text(headOf(3, what));
}

function fields(count, what) {
  if (headOf(4, what) !== count) malformed(`${what} without its ${count} parts`);
}

function readBignum() {
  const start = octetsOf('a bignum');
  const hex = source.hexSlice(start, at);
  return hex === '' ? 0n : BigInt(`0x${hex}`);
}

/** Tag 273: WTF-8, the generalised UTF-8 that has lone surrogates. */
function readSurrogates() {
  const start = octetsOf('a string');
  const units = [];
  let i = start;
  while (i < at) {
    const first = source[i];
    if ((first & 0xf0) === 0xe0 && i + 2 < at && (source[i + 1] & 0xc0) === 0x80 && (source[i + 2] & 0xc0) === 0x80) {
      units.push(String.fromCharCode(((first & 15) << 12) | ((source[i + 1] & 63) << 6) | (source[i + 2] & 63)));
      i += 3;
      continue;
    }
    const length = first < 0x80 ? 1 : (first & 0xe0) === 0xc0 ? 2 : 4;
    const bytes = source.subarray(i, Math.min(i + length, at));
    if (!isUtf8(bytes)) malformed('a string that is not WTF-8');
    units.push(bytes.toString());
    i += length;
  }
  return units.join('');
}

function readDate() {
  if (headOf(5, 'a date') !== 3) malformed('a date without its three parts');
  const parts = [1, -6, -10].map((name) => {
    if (read() !== name) malformed('a date with other parts');
    return read();
  });
  const [seconds, microseconds, zone] = parts;
  if (!Number.isSafeInteger(seconds) || !Number.isInteger(microseconds) || microseconds < 0 || microseconds > 999_999) {
    malformed('a date of no moment');
  }
  const time = seconds * 1000 + Math.floor(microseconds / 1000);
  if (Math.abs(time) > TIME_MAX) throw new CannotCross(`a date ${seconds} seconds from 1970 is beyond what Date can hold`);
  if (zone === 'UTC' && microseconds % 1000 === 0) return new Date(time);
  return new ZonedDate(time, zone, microseconds % 1000);
}

const TIMES = new Map([['datetime', PlainDateTime], ['time', PlainTime], ['duration', Duration]]);

function readTime() {
  fields(2, 'a time');
  const Class = TIMES.get(textOf('a time'));
  if (Class === undefined) malformed('a time of an unknown kind');
  return new Class(textOf('a time'));
}

function readUuid() {
  const start = octetsOf('a UUID');
  if (at - start !== 16) malformed('a UUID that has not 16 bytes');
  const hex = source.hexSlice(start, at);
  return new Uuid(`${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`);
}

/** The one place where typed arrays are read. */
function readArray(Class) {
  if (isMemory()) return arrayIn(Class, memory());
  const start = octetsOf('an array of numbers');
  if ((at - start) % Class.BYTES_PER_ELEMENT !== 0) malformed('an array with a part of a number');
  return arrayOf(Class, source, start, at);
}

/** Whether tag 39004 stands where bytes are due. */
function isMemory() {
  return source[at] === 0xd9 && at + 2 < limit && source[at + 1] === 0x98 && source[at + 2] === 0x5c;
}

/** The ArrayBuffer that tag 39004 names. */
function memory() {
  at += 3;
  return memoryOf();
}

function memoryOf() {
  const count = headOf(4, 'a reference to memory');
  if (count !== 3 && count !== 8) malformed('a reference to memory without its parts');
  const parts = [];
  for (let i = 0; i < count; i++) parts.push(i === 7 ? read() : headOf(0, 'a reference to memory'));
  if (handles === null || handles.memory === null) malformed('a reference to memory where none can be');
  return handles.memory.borrow(parts);
}

function arrayIn(Class, buffer) {
  if (buffer.byteLength % Class.BYTES_PER_ELEMENT !== 0) malformed('an array with a part of a number');
  const array = new Class(buffer);
  return isShared(buffer) ? releasable(array) : array;
}

function readMemory() {
  const buffer = memoryOf();
  return isShared(buffer) ? releasable(Buffer.from(buffer)) : Buffer.from(buffer);
}

function readNdArray() {
  fields(3, 'an array');
  const dtype = textOf('a dtype');
  const shape = read();
  const Class = ARRAYS.get(dtype) ?? Uint8Array;
  if (isMemory()) return new NdArray(dtype, shape, arrayIn(Class, memory()));
  const start = octetsOf("an array's data");
  if ((at - start) % Class.BYTES_PER_ELEMENT !== 0) malformed('an array with a part of a number');
  return new NdArray(dtype, shape, arrayOf(Class, source, start, at));
}

function readMap() {
  const size = headOf(5, 'a Map');
  need(size * 2);
  enter();
  const map = new Map();
  for (let i = 0; i < size; i++) {
    const name = read();
    map.set(name, read());
  }
  depth--;
  return map;
}

function readSet() {
  const size = headOf(4, 'a Set');
  need(size);
  enter();
  const set = new Set();
  for (let i = 0; i < size; i++) set.add(read());
  depth--;
  return set;
}

function readRegExp() {
  const pattern = textOf('a regular expression');
  try {
    return new RegExp(pattern);
  } catch (error) {
    throw new CannotCross(`the regular expression ${JSON.stringify(pattern)} is none in JavaScript: ${error.message}`);
  }
}

const HANDLE_KINDS = ['function', 'stream', 'object'];

function readReference() {
  fields(3, 'a reference');
  const number = headOf(0, 'a handle');
  const kind = textOf('a kind');
  const name = textOf('a name');
  if (!HANDLE_KINDS.includes(kind) || number < 1 || number >= TWO_32) malformed('a reference to nothing');
  if (handles === null) malformed('a reference where none can be');
  return handles.take(number, kind, name);
}

function readOwn() {
  fields(1, 'a reference');
  const number = headOf(0, 'a handle');
  if (handles === null) malformed('a reference where none can be');
  return handles.own(number);
}

function readArrow() {
  if (isMemory()) return arrow.tableOf(Buffer.from(memory()));
  const start = octetsOf('a table');
  return arrow.tableOf(Buffer.from(source.subarray(start, at)));
}

/** The facts of an error, of the right types or refused; see "Errors" in protocol/calls.md. */
function checkFacts(facts, level = 0) {
  const isObject = (value) => typeof value === 'object' && value !== null && Object.getPrototypeOf(value) === Object.prototype;
  if (!isObject(facts) || level > DEPTH_MAX) malformed('an error that is no map');
  for (const name of ['language', 'type', 'message', 'text']) if (typeof facts[name] !== 'string') malformed(`an error without its ${name}`);
  for (const name of ['frames', 'suppressed', 'notes']) if (!Array.isArray(facts[name])) malformed(`an error without its ${name}`);
  if (!isObject(facts.properties)) malformed('an error without its properties');
  if (facts.code !== undefined && typeof facts.code !== 'string') malformed('an error with a code that is no text');
  const types = ['string', 'number', 'number', 'string', 'string', 'string'];
  for (const frame of facts.frames) {
    if (!Array.isArray(frame) || frame.length !== 6 || !types.every((type, i) => typeof frame[i] === type)) malformed('an error with a wrong frame');
  }
  if (facts.cause !== undefined) checkFacts(facts.cause, level + 1);
  for (const inner of facts.suppressed) checkFacts(inner, level + 1);
  return facts;
}

const TAGGED = new Map([
  [2, readBignum],
  [3, () => -1n - readBignum()],
  [35, readRegExp],
  [37, readUuid],
  [258, readSet],
  [259, readMap],
  [273, readSurrogates],
  [1001, readDate],
  [1004, () => new PlainDate(textOf('a day'))],
  [39001, readTime],
  [39002, () => new Decimal(textOf('a decimal number'))],
  [39003, readNdArray],
  [39004, readMemory],
  [39005, readArrow],
  [39006, readReference],
  [39007, () => errorOf(checkFacts(read()))],
  [39008, readOwn],
  ...[...CLASSES].map(([tag, Class]) => [tag, () => readArray(Class)]),
]);

module.exports = { readArguments, readFacts, readSequence, readValue };
