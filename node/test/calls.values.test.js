'use strict';
// Values of calls as bytes: the golden encodings that Rust and Python also read, random values, and what is refused.

const assert = require('node:assert/strict');
const fs = require('node:fs');
const path = require('node:path');
const { test } = require('node:test');

const fc = require('fast-check');

const { ProtocolError } = require('../src/errors.js');
const { CannotCross, errorOf, factsOf } = require('../src/calls/errors.js');
const { readArguments, readFacts, readSequence, readValue } = require('../src/calls/read.js');
const types = require('../src/calls/types.js');
const { ValueWriter } = require('../src/calls/write.js');

const golden = JSON.parse(fs.readFileSync(path.join(__dirname, '../../protocol/golden/calls.json'), 'utf8'));

/** The value of an expression of the golden file, which uses the classes of `bireme`. */
const evaluate = (expression) => new Function(...Object.keys(types), `return (${expression})`)(...Object.values(types));

function encode(value, handles = null) {
  const writer = new ValueWriter(handles);
  writer.whole(value, 'value');
  return Buffer.from(writer.buffer.subarray(0, writer.length));
}

const decode = (bytes, handles = null) => readValue(bytes, 0, bytes.length, handles);
const roundTrip = (value) => decode(encode(value));

test('values are written as in the golden file', () => {
  const rows = golden.values.filter((row) => row.from_javascript !== undefined);
  assert.ok(rows.length > 80);
  for (const { name, hex, from_javascript } of rows) {
    for (const expression of from_javascript) assert.equal(encode(evaluate(expression)).toString('hex'), hex, `${name}: ${expression}`);
  }
});

test('values are read as in the golden file', () => {
  const rows = golden.values.filter((row) => row.to_javascript !== undefined);
  assert.ok(rows.length > 80);
  for (const { name, hex, to_javascript } of rows) assert.deepEqual(decode(Buffer.from(hex, 'hex')), evaluate(to_javascript), name);
});

test('what is no value is refused as in the golden file', () => {
  assert.ok(golden.refused.length > 20);
  for (const { name, hex } of golden.refused) assert.throws(() => decode(Buffer.from(hex, 'hex')), ProtocolError, name);
});

test('references are written and read as in the golden file', () => {
  for (const { name, handle, kind, label, hex } of golden.references) {
    const taken = [];
    const mark = Symbol(name);
    const reading = { take: (...what) => (taken.push(what), mark), own: (number) => (taken.push(number), mark) };
    assert.equal(decode(Buffer.from(hex, 'hex'), reading), mark);
    assert.deepEqual(taken, kind === 'own' ? [handle] : [[handle, kind, label]]);
    const named = { [label]: function () {} }[label];
    const value = { function: named, stream: { constructor: { name: label }, async *[Symbol.asyncIterator]() {} }, own: named }[kind];
    if (value === undefined) continue;
    const writing = { homeOf: () => (kind === 'own' ? handle : 0), give: () => handle };
    assert.equal(encode(value, writing).toString('hex'), hex, name);
  }
});

test('errors are read as in the golden file, and passed on with nothing lost', () => {
  const facts = (error) => JSON.parse(JSON.stringify({ ...error, cause: undefined, suppressed: undefined }));
  for (const row of golden.errors) {
    const bytes = Buffer.from(row.hex, 'hex');
    const error = errorOf(readFacts(bytes, 0, bytes.length, null));
    assert.equal(error.message, row.message);
    assert.equal(error.type, row.type);
    assert.equal(error.remoteStack, row.text);
    assert.deepEqual(error.frames.slice(error.frames.length - row.frames.length), row.frames);
    if (row.cause !== undefined) assert.equal(error.cause.message, row.cause.message);
    if (row.suppressed !== undefined) assert.equal(error.errors[0].type, row.suppressed[0].type);
    const passed = factsOf(error);
    for (const key of ['language', 'type', 'message', 'code', 'text', 'notes', 'properties']) {
      assert.deepEqual(facts(passed)[key], facts(row)[key], `${row.name}: ${key}`);
    }
  }
});

/** Any value that comes back as it went. */
const anything = fc.letrec((tie) => ({
  value: fc.oneof(
    { depthSize: 'small', withCrossShrink: true },
    fc.constantFrom(null, undefined, true, false),
    fc.double(),
    fc.integer(),
    fc.maxSafeInteger(),
    fc.bigInt().map((n) => (n >= -(2n ** 53n) + 1n && n <= 2n ** 53n - 1n ? Number(n) : n)),
    fc.string({ unit: 'binary' }),
    fc.string({ unit: 'grapheme', maxLength: 200 }),
    fc.uint8Array().map((bytes) => Buffer.from(bytes)),
    fc.float64Array({ noNaN: true }),
    fc.int32Array(),
    fc.bigInt64Array(),
    fc.date({ noInvalidDate: true }),
    fc.uuid().map((text) => new types.Uuid(text)),
    fc.array(tie('value'), { maxLength: 6 }),
    fc.dictionary(fc.string({ unit: 'binary' }), tie('value'), { maxKeys: 6 }).map((value) => Object.fromEntries(Object.entries(value))),
    fc.array(fc.tuple(tie('value'), tie('value')), { maxLength: 4 }).map((entries) => new Map(entries)),
    fc.array(tie('value'), { maxLength: 4 }).map((items) => new Set(items)),
  ),
})).value;

test('random values come back as they went', () => {
  fc.assert(fc.property(anything, (value) => assert.deepEqual(roundTrip(value), value)), { numRuns: 2000 });
});

test('strings of any UTF-16 come back as they went', () => {
  const units = fc.array(fc.oneof(fc.integer({ min: 0xd7f0, max: 0xe010 }), fc.integer({ min: 0, max: 0xffff })), { maxLength: 60 });
  fc.assert(fc.property(units, (codes) => assert.equal(roundTrip(String.fromCharCode(...codes)), String.fromCharCode(...codes))), { numRuns: 3000 });
});

test('no bytes do worse than a clear error', () => {
  const rows = golden.values.map((row) => Buffer.from(row.hex, 'hex'));
  const damaged = fc.tuple(fc.constantFrom(...rows), fc.array(fc.tuple(fc.nat(64), fc.nat(255)), { maxLength: 3 })).map(([row, changes]) => {
    const bytes = Buffer.from(row);
    for (const [at, byte] of changes) bytes[at % bytes.length] = byte;
    return bytes;
  });
  const survives = (bytes) => {
    try {
      decode(bytes);
    } catch (error) {
      assert.ok(error instanceof ProtocolError || error instanceof CannotCross, error.stack);
    }
  };
  fc.assert(fc.property(damaged, survives), { numRuns: 5000 });
  fc.assert(fc.property(fc.uint8Array({ maxLength: 60 }), (bytes) => survives(Buffer.from(bytes))), { numRuns: 5000 });
});

test('arguments, keywords and sequences', () => {
  const writer = new ValueWriter(null);
  writer.arguments([1, 'a'], { top: 3 });
  assert.deepEqual(readArguments(writer.buffer, 0, writer.length, null, true), { args: [1, 'a'], kwargs: { top: 3 } });
  const items = [];
  const bytes = Buffer.concat([encode(1), encode('b'), encode([])]);
  readSequence(bytes, 0, bytes.length, null, items);
  assert.deepEqual(items, [1, 'b', []]);
});

class User {
  constructor() {
    this.lock = 1;
  }
}
const cycle = { name: 'a' };
cycle.self = [cycle];
const REFUSED = [
  ['a symbol', () => Symbol('x'), /^value: symbol cannot cross$/],
  ['an instance', () => ({ user: new User() }), /^value\.user: User cannot cross$/],
  ['an odd key', () => ({ 'a b': [0, new WeakMap()] }), /^value\["a b"\]\[1\]: WeakMap cannot cross$/],
  ['a promise', () => [Promise.resolve()], /^value\[0\]: a Promise cannot cross; await it first$/],
  ['an invalid date', () => new Date(NaN), /invalid Date/],
  ['a function where none can be', () => ({ f() {} }), /^value\.f: a function cannot cross$/],
  ['a cycle', () => cycle, /in a cycle/],
  ['a RegExp whose flags Python would not know', () => /a/i, /flags/],
  ['a value in a Map', () => new Map([['key', new User()]]), /^value\.key: User/],
];
for (const [what, make, message] of REFUSED) {
  test(`${what} is refused by its path`, () => {
    assert.throws(() => encode(make()), (error) => {
      assert.ok(error instanceof CannotCross && error instanceof TypeError);
      assert.equal(error.code, 'BIREME_VALUE');
      assert.match(error.message, message);
      return true;
    });
  });
}

test('arguments are named by their place', () => {
  const refused = (args, kwargs, message) => assert.throws(() => new ValueWriter(null).arguments(args, kwargs), { message });
  refused([1, { user: { lock: new WeakSet() } }], undefined, 'args[1].user.lock: WeakSet cannot cross');
  refused([], { top: { n: Symbol() } }, 'kwargs.top.n: symbol cannot cross');
});

test('subclasses and values of other realms cross as what they are', () => {
  const { runInNewContext } = require('node:vm');
  class Names extends Map {}
  assert.deepEqual(roundTrip(new Names([['a', 1]])), new Map([['a', 1]]));
  assert.deepEqual(roundTrip(runInNewContext('({ a: [1, new Date(5)] })')), { a: [1, new Date(5)] });
  class Bytes extends Uint8Array {}
  assert.deepEqual(roundTrip(new Bytes([1, 2])), Buffer.from([1, 2]));
});

test('arrays have memory of their own, aligned', () => {
  const bytes = Buffer.concat([Buffer.alloc(1), encode([new Float64Array([1, 2])])]);
  const [array] = readValue(bytes, 1, bytes.length, null);
  bytes.fill(0);
  assert.deepEqual([...array], [1, 2]);
  assert.equal(array.buffer.byteLength, 16);
});

test('errors cross as values, with causes, members, properties and what can cross of them', () => {
  const inner = Object.assign(new RangeError('inner'), { status: 404, lock: new WeakMap(), again() {} });
  const error = new AggregateError([inner, 'text'], 'outer', { cause: inner });
  const back = roundTrip({ error }).error;
  assert.equal(back.name, 'AggregateError');
  assert.equal(back.cause.status, 404);
  assert.ok(back.cause instanceof RangeError);
  assert.deepEqual(back.errors.map((one) => one.message), ['inner', "'text'"]);
  assert.equal('lock' in back.cause || 'again' in back.cause, false);
  const round = new Error('round');
  round.cause = round;
  assert.equal(roundTrip(round).cause, undefined);
});
