// Random values of JavaScript that cross to Python and come home; properties.py is the same from the other side, and
// says what `describe` is for.
import { createHash } from 'node:crypto';
import { types } from 'node:util';

import { Decimal, Duration, NdArray, PlainDate, PlainDateTime, PlainTime, Uuid, ZonedDate } from 'bireme';

import * as there from './properties.py';

const ZONES = ['UTC', 'Europe/Berlin', 'America/New_York', 'Asia/Kathmandu', '+02:00', '-03:30', '+05:53:28'];
const CLASSES = [
  Int8Array, Uint8Array, Uint8ClampedArray, Int16Array, Uint16Array, Int32Array, Uint32Array, BigInt64Array, BigUint64Array, Float32Array, Float64Array,
  ...(globalThis.Float16Array === undefined ? [] : [globalThis.Float16Array]),
];
const DTYPE_OF = {
  Int8Array: '|i1', Int16Array: '<i2', Uint16Array: '<u2', Int32Array: '<i4', Uint32Array: '<u4', BigInt64Array: '<i8', BigUint64Array: '<u8',
  Float16Array: '<f2', Float32Array: '<f4', Float64Array: '<f8',
};
/** dtypes of NumPy and the bytes of an item. */
const DTYPES = [
  ['|b1', 1], ['|i1', 1], ['|u1', 1], ['<i2', 2], ['<u4', 4], ['<i8', 8], ['<f2', 2], ['<f8', 8], ['<c16', 16], ['>i4', 4], ['<M8[ns]', 8], ['<m8[D]', 8],
  ['|S7', 7], ['<U3', 12], ['|V5', 5], ["[('a', '<i4'), ('b', '|S3')]", 7],
];
const SHOWN_BYTES_MAX = 64;
const DEEPEST = 5;
/** Large enough for shared memory. */
const LARGE_BYTES = 70_000;

export const same = (value) => value;

/** The text that properties.py has for the same value. */
export function describe(value) {
  switch (typeof value) {
    case 'undefined':
      return 'null';
    case 'boolean':
      return String(value);
    case 'bigint':
      return `i${value}`;
    case 'number':
      return describeNumber(value);
    case 'string':
      return describeText(value);
    default:
      return value === null ? 'null' : describeObject(value);
  }
}

function describeNumber(value) {
  if (Number.isInteger(value) && Math.abs(value) <= 2 ** 53 && !Object.is(value, -0)) return `i${value}`;
  if (Number.isNaN(value)) return 'fnan';
  const bytes = Buffer.alloc(8);
  bytes.writeDoubleBE(value);
  return `f${bytes.toString('hex')}`;
}

function describeText(text) {
  let escaped = '';
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i);
    escaped += unit >= 32 && unit < 127 && unit !== 34 && unit !== 92 ? text[i] : `\\u${unit.toString(16).padStart(4, '0')}`;
  }
  return `"${escaped}"`;
}

function describeBytes(value) {
  const bytes = ArrayBuffer.isView(value) ? Buffer.from(value.buffer, value.byteOffset, value.byteLength) : Buffer.from(value);
  if (bytes.length <= SHOWN_BYTES_MAX) return `b${bytes.toString('hex')}`;
  return `b${bytes.length}:${createHash('sha256').update(bytes).digest('hex')}`;
}

function describeArray(dtype, shape, data) {
  if (dtype === '|u1' && shape.length === 1) return describeBytes(data);
  return `array(${dtype} [${shape.join(', ')}] ${describeBytes(data)})`;
}

/** By code points, as Python sorts: a description has none but ASCII. */
const inOrder = (texts) => texts.sort((a, b) => (a < b ? -1 : a > b ? 1 : 0));

function describeObject(value) {
  if (Array.isArray(value)) return `[${value.map(describe).join(',')}]`;
  if (value instanceof NdArray) return describeArray(value.dtype, value.shape, value.data);
  if (types.isUint8Array(value) || types.isUint8ClampedArray(value) || types.isAnyArrayBuffer(value)) return describeBytes(value);
  if (ArrayBuffer.isView(value)) return describeArray(DTYPE_OF[value.constructor.name], [value.length], value);
  if (value instanceof Map) return describeMap(value);
  if (value instanceof Set) return `set(${inOrder([...value].map(describe)).join(',')})`;
  if (value instanceof Date) return `at${BigInt(value.getTime()) * 1000n + BigInt(value.microsecond ?? 0)}@${value.timeZone ?? 'UTC'}`;
  if (value instanceof RegExp) return `RegExp(${describeText(value.source === '(?:)' ? '' : value.source.replaceAll('\\/', '/'))})`;
  for (const Class of [Decimal, Duration, PlainDate, PlainDateTime, PlainTime, Uuid]) if (value instanceof Class) return `${Class.name}(${value})`;
  return describeMap(new Map(Object.entries(value)));
}

function describeMap(map) {
  const pairs = [...map].map(([key, item]) => `${describe(key)}:${describe(item)}`);
  // With such keys it is a plain object, which may have them in an order of its own.
  return [...map.keys()].every((key) => typeof key === 'string') ? `{${inOrder(pairs).join(',')}}` : `map(${pairs.join(',')})`;
}

/** Values that a seed decides. */
class Values {
  #state;
  #scalars = [
    () => null, () => undefined, () => this.chance(0.5), () => this.integer(), () => this.bigint(), () => this.float(), () => this.float(), () => this.text(),
    () => this.text(), () => this.bytes(), () => this.moment(), () => new PlainDate(this.day()), () => this.naive(), () => new PlainTime(this.time()),
    () => this.duration(), () => this.decimal(), () => this.uuid(), () => this.pattern(),
  ];
  #containers = [(depth) => this.list(depth), (depth) => this.object(depth), (depth) => this.map(depth), () => new Set(this.keys())];
  #arrays = [() => this.typed(), () => this.ndarray()];

  constructor(seed) {
    this.#state = Math.imul(seed + 1, 0x9e3779b1) | 1;
    // Neighbouring seeds begin alike.
    for (let i = 0; i < 16; i++) this.bits();
  }

  /** xorshift32 (Marsaglia 2003). */
  bits() {
    let state = this.#state;
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    this.#state = state;
    return state >>> 0;
  }

  below(limit) {
    return Math.floor((this.bits() / 2 ** 32) * limit);
  }

  chance(share) {
    return this.bits() < share * 2 ** 32;
  }

  choice(items) {
    return items[this.below(items.length)];
  }

  value(depth = 0) {
    if (depth < DEEPEST && this.chance(depth === 0 ? 0.9 : 0.35)) return this.choice(this.#containers)(depth + 1);
    return this.choice(this.chance(0.07) ? this.#arrays : this.#scalars)();
  }

  count() {
    return this.choice([0, 1, 1, 2, 3, 5, 8, 30]);
  }

  integer() {
    return this.choice([1, -1]) * Math.floor(this.bits() * 2 ** (this.below(55) - 32)) + this.choice([-1, 0, 0, 1]);
  }

  bigint() {
    let number = 0n;
    for (let words = this.below(7); words >= 0; words--) number = (number << 32n) | BigInt(this.bits());
    return (this.chance(0.5) ? number : -number) >> BigInt(this.below(64));
  }

  float() {
    const any = Buffer.alloc(8);
    any.writeUInt32LE(this.bits(), 0);
    any.writeUInt32LE(this.bits(), 4);
    const specials = [0, -0, 1.5, 2 ** 53, 2 ** 53 + 2, -(2 ** 64), 1e300, 5e-324, Infinity, -Infinity, NaN, Number.MAX_VALUE];
    return this.choice([...specials, any.readDoubleLE(), any.readDoubleLE(), this.bits() / 1000]);
  }

  text() {
    const known = ['', '__proto__', 'constructor', '0', '17', 'a.b', '\0', '\ufeff', '\ud800', '\udfff', '\ud83d\ude00', '\ude00\ud83d', 'x'.repeat(24)];
    if (this.chance(0.2)) return this.choice(known);
    const ranges = [[32, 126], [32, 126], [0, 0xff], [0, 0xd7ff], [0xd800, 0xdfff], [0xe000, 0xffff], [0x10000, 0x10ffff]];
    const range = this.choice(ranges);
    const mixed = this.chance(0.3);
    let text = '';
    for (let length = this.choice([1, 3, 10, 12, 13, 23, 40, 41, 64, 65, 255, 300, 5000]); length > 0; length--) {
      const [low, high] = mixed ? this.choice(ranges) : range;
      text += String.fromCodePoint(low + this.below(high - low + 1));
    }
    return text;
  }

  random(bytes) {
    const data = Buffer.alloc(bytes);
    for (let i = 0; i < bytes; i++) data[i] = this.bits();
    return data;
  }

  bytes() {
    const data = this.random(this.choice([0, 1, 23, 24, 255, 256, 5000, this.chance(0.2) ? LARGE_BYTES : 2]));
    return this.choice([() => data, () => new Uint8Array(data), () => new Uint8Array(data).buffer])();
  }

  moment() {
    const time = Math.floor((this.bits() / 2 ** 32 - 0.5) * 1.2e14);
    return this.chance(0.5) ? new Date(time) : new ZonedDate(time, this.choice(ZONES), this.choice([0, 1, 456, 999]));
  }

  day() {
    const parts = [[1 + this.below(9999), 4], [1 + this.below(12), 2], [1 + this.below(28), 2]];
    return parts.map(([number, digits]) => String(number).padStart(digits, '0')).join('-');
  }

  time() {
    const two = (number) => String(number).padStart(2, '0');
    return `${two(this.below(24))}:${two(this.below(60))}:${two(this.below(60))}${this.choice(['', '.000001', '.123000', '.999999'])}`;
  }

  naive() {
    return new PlainDateTime(`${this.day()}T${this.time()}`);
  }

  duration() {
    const size = `PT${this.choice([0, 1, 59, 90_061, this.below(10 ** 9)])}${this.choice(['', '.5', '.000001', '.999999'])}S`;
    return new Duration(/[1-9]/.test(size) ? this.choice(['', '-']) + size : size);
  }

  decimal() {
    return new Decimal(this.choice(['0', '-0', '1.10', '1E+5', '1E-400', 'NaN', '-NaN12', 'sNaN', 'Infinity', '-Infinity', '0E-20', `${this.below(10 ** 9)}.${this.below(1000)}`]));
  }

  uuid() {
    const hex = this.random(16).toString('hex');
    return new Uuid(`${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`);
  }

  pattern() {
    return this.choice([/a+b/, /^x[/]$/, /\d{2}/, /é/, /\//]);
  }

  list(depth) {
    return Array.from({ length: this.count() }, () => this.value(depth));
  }

  object(depth) {
    const object = this.chance(0.8) ? {} : Object.create(null);
    for (let count = this.count(); count > 0; count--) {
      Object.defineProperty(object, this.text(), { value: this.value(depth), enumerable: true, configurable: true, writable: true });
    }
    return object;
  }

  map(depth) {
    return new Map(this.keys().map((key) => [key, this.value(depth)]));
  }

  /** What both languages can have as keys, each once: for Python `1` and `true` are one key, and moments in two zones, too. */
  keys() {
    const makers = [() => null, () => this.chance(0.5), () => this.integer(), () => this.bigint(), () => this.float(), () => this.text(), () => this.bytes(), () => this.uuid(), () => this.moment()];
    const keys = new Map();
    for (let count = this.count(); count > 0; count--) {
      const key = this.choice(makers)();
      const isNumber = ['boolean', 'number', 'bigint'].includes(typeof key);
      const identity = isNumber ? `n${Number(key)}` : key instanceof Date ? `at${key.getTime()}` : describe(key);
      if (!keys.has(identity)) keys.set(identity, key);
    }
    return [...keys.values()];
  }

  typed() {
    const Class = this.choice(CLASSES);
    const length = this.chance(0.1) ? LARGE_BYTES : this.count();
    const offset = this.below(3);
    const data = this.random((length + offset) * Class.BYTES_PER_ELEMENT);
    return new Class(data.buffer.slice(data.byteOffset, data.byteOffset + data.byteLength), offset * Class.BYTES_PER_ELEMENT, length);
  }

  ndarray() {
    const [dtype, size] = this.choice(DTYPES);
    const small = Array.from({ length: this.below(5) }, () => this.choice([0, 1, 2, 3, 7]));
    const shape = this.chance(0.1) ? [Math.floor(LARGE_BYTES / size), this.choice([1, 2])] : small;
    return new NdArray(dtype, shape, this.random(shape.reduce((product, length) => product * length, size)));
  }
}

/** Values of the seeds from this one on, for so long: how many, or what the first that did not cross well is. */
export async function check(seed, seconds) {
  const until = performance.now() + seconds * 1000;
  for (let number = 0; ; number++) {
    if (number > 0 && performance.now() > until) return { values: number };
    const value = new Values(seed + number).value();
    const here = describe(value);
    const arrived = await there.describe(value);
    const home = describe(await there.same(value));
    if (here !== arrived) return { seed: seed + number, arrived: difference(here, arrived) };
    if (here !== home) return { seed: seed + number, 'came home': difference(here, home) };
  }
}

/** What stands around the first difference of two descriptions. */
function difference(sent, got) {
  let at = 0;
  while (at < sent.length && sent[at] === got[at]) at++;
  return [sent, got].map((text) => text.slice(Math.max(0, at - 60), at + 60));
}
