'use strict';
// Classes for values of Python that JavaScript has no type for; the table in protocol/calls.md says what becomes what.
// They keep what crossed and compute nothing: Temporal, decimal.js or whatever the program likes does that.

const DAY = /^(\d{4})-(\d{2})-(\d{2})$/;
const TIME = /^([01]\d|2[0-3]):[0-5]\d(:[0-5]\d(\.\d{1,6})?)?$/;
const DURATION = /^-?P(?=\d|T\d)(\d+W)?(\d+D)?(T(?=\d)(\d+H)?(\d+M)?(\d+(\.\d+)?S)?)?$/;
const DECIMAL = /^[+-]?((\d+(\.\d*)?|\.\d+)(E[+-]?\d+)?|Infinity|NaN\d*|sNaN\d*)$/i;
const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i;
/** "UTC", an IANA name or an offset such as "+02:00" (Python also has seconds). */
const ZONE = /^([A-Za-z][A-Za-z0-9._+/-]*|[+-]\d{2}:\d{2}(:\d{2}(\.\d{1,6})?)?)$/;

const isDay = (text) => {
  const parts = DAY.exec(text);
  if (parts === null) return false;
  const [year, month, day] = [Number(parts[1]), Number(parts[2]), Number(parts[3])];
  const last = new Date(Date.UTC(year + 2000, month, 0)).getUTCDate();
  return year >= 1 && month >= 1 && month <= 12 && day >= 1 && day <= last;
};

/** A value that is a text of a certain form. */
class Text {
  #text;

  constructor(text, fits) {
    if (typeof text !== 'string' || !fits(text)) throw new RangeError(`${JSON.stringify(text)} is no ${new.target.name}`);
    this.#text = text;
  }

  toString() {
    return this.#text;
  }

  toJSON() {
    return this.#text;
  }

  [Symbol.for('nodejs.util.inspect.custom')]() {
    return `${this.constructor.name} <${this.#text}>`;
  }
}

/** A day without time or zone (Python's `date`): `2024-05-06`. */
class PlainDate extends Text {
  constructor(text) {
    super(text, isDay);
  }
}

/** A day and time without a zone (Python's naive `datetime`): `2024-05-06T07:08:09.000123`. */
class PlainDateTime extends Text {
  constructor(text) {
    super(text, (text) => text[10] === 'T' && isDay(text.slice(0, 10)) && TIME.test(text.slice(11)));
  }
}

/** A time of day (Python's `time`): `07:08:09`, with an offset if Python's had one. */
class PlainTime extends Text {
  constructor(text) {
    super(text, (text) => TIME.test(text.replace(/[+-]\d{2}:\d{2}(:\d{2}(\.\d{1,6})?)?$/, '')));
  }
}

/** A length of time (Python's `timedelta`) in ISO 8601: `PT1.5S`. */
class Duration extends Text {
  constructor(text) {
    super(text, (text) => DURATION.test(text));
  }
}

/** A decimal number of any precision (Python's `Decimal`). `Number(x)` is the nearest float. */
class Decimal extends Text {
  constructor(text) {
    super(typeof text === 'number' || typeof text === 'bigint' ? String(text) : text, (text) => DECIMAL.test(text));
  }

  valueOf() {
    return Number(this.toString());
  }
}

/** A UUID, in lower case. */
class Uuid extends Text {
  constructor(text) {
    super(typeof text === 'string' ? text.toLowerCase() : text, (text) => UUID.test(text));
  }
}

/** A moment in a time zone (Python's aware `datetime`): a `Date` that also knows the zone and the microsecond. */
class ZonedDate extends Date {
  /** `time`: milliseconds since 1970, or text; `timeZone`: IANA name, offset or "UTC"; `microsecond`: 0 to 999, within the ms. */
  constructor(time, timeZone, microsecond = 0) {
    super(time);
    if (typeof timeZone !== 'string' || !ZONE.test(timeZone)) throw new RangeError(`${JSON.stringify(timeZone)} is no time zone`);
    if (!Number.isInteger(microsecond) || microsecond < 0 || microsecond > 999) {
      throw new RangeError(`the microsecond is ${microsecond}; it must be from 0 to 999`);
    }
    this.timeZone = timeZone;
    this.microsecond = microsecond;
  }
}

/** dtypes of NumPy whose numbers JavaScript has an array for. */
const ARRAYS = new Map([
  ['|i1', Int8Array], ['|u1', Uint8Array], ['<i2', Int16Array], ['<u2', Uint16Array], ['<i4', Int32Array], ['<u4', Uint32Array],
  ['<i8', BigInt64Array], ['<u8', BigUint64Array], ['<f4', Float32Array], ['<f8', Float64Array], ['|b1', Uint8Array],
]);
/** `<M8[s]` and the like; structured types have a text of their own, and their data is not checked here. */
const DTYPE = /^[<>|=][?a-zA-Z](\d+)(\[[^\]]+\])?$/;

/** An array of NumPy of any type and shape, in C order. `data` is a typed array if JavaScript has the type, else its bytes. */
class NdArray {
  constructor(dtype, shape, data) {
    if (typeof dtype !== 'string' || dtype === '') throw new TypeError('the dtype of an NdArray is a text such as "<f8"');
    if (!Array.isArray(shape) || !shape.every((length) => Number.isSafeInteger(length) && length >= 0)) {
      throw new TypeError('the shape of an NdArray is an array of lengths');
    }
    if (!ArrayBuffer.isView(data)) throw new TypeError('the data of an NdArray is a typed array');
    const size = itemBytes(dtype);
    const count = shape.reduce((product, length) => product * length, 1);
    if (size !== undefined && count * size !== data.byteLength) {
      throw new RangeError(`an NdArray of ${dtype} and shape [${shape}] has ${count * size} bytes, not ${data.byteLength}`);
    }
    this.dtype = dtype;
    this.shape = shape;
    this.data = data;
  }
}

/** Bytes of one item, or undefined for types whose text does not say it simply. */
function itemBytes(dtype) {
  const parts = DTYPE.exec(dtype);
  if (parts === null) return undefined;
  const number = Number(parts[1]);
  // Unicode counts characters of four bytes; dates always have eight.
  return dtype[1] === 'U' ? number * 4 : number;
}

/** An Arrow IPC stream, where the program has no apache-arrow to read it with. */
class ArrowTable {
  constructor(bytes) {
    this.bytes = bytes;
  }
}

module.exports = { ARRAYS, ArrowTable, Decimal, Duration, NdArray, PlainDate, PlainDateTime, PlainTime, Uuid, ZonedDate };
