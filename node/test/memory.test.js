'use strict';
// Arrays in shared memory over a real call link, whose ends are both here; from the built runtime, which has the add-on.

const assert = require('node:assert/strict');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { after, afterEach, before, test } = require('node:test');
const { setFlagsFromString } = require('node:v8');
const { runInNewContext } = require('node:vm');

const runtime = process.env.XTASK_RUNTIME ?? path.join(__dirname, '../../target/release/runtime');
const source = (file) => require(path.join(runtime, 'node/src', file));
const { CannotCross, NdArray, Released, SharedMemoryFull, release, shared } = source('bireme.js');
const { Client } = source('calls/client.js');
const { CallServer } = source('calls/server.js');
const { Service } = source('calls/service.js');
const native = source('native.node');

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc');

const PROGRAM = `
exports.total = (array) => array.reduce((sum, item) => sum + Number(item), 0);
exports.same = (value) => value;
exports.fill = (array, value) => { array.fill(value); };
let kept;
exports.keep = (array) => { kept = array; };
exports.kept = () => kept[0];
exports.forget = () => { kept = undefined; };
exports.half = (array) => array.subarray(array.length / 2);
exports.releases = (array) => { array.release(); return array.length; };
`;

const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'bireme-memory-'));
const socket = path.join(folder, 'calls.sock');
const program = path.join(folder, 'program.cjs');
const server = new CallServer(socket, 'secret');
const client = new Client({}, { root: folder });
client.token = 'secret';
const options = { timeout_ms: 10_000, in_flight_max: 64, message_bytes_max: 1 << 20, shared_bytes_min: 65_536, shared_bytes_max: 1 << 28 };
let service;

/** A new link to the program; the one before stays as it is. */
function connect(name = 'program') {
  service = new Service(client, name, options);
  service.setWorkers([{ worker: `${name}#1`, path: socket }]);
}

function call(name, ...args) {
  const place = client.place({ language: 'node', file: program }, {});
  place.service = service;
  return client.call(client.target(place, name), args, undefined, 0);
}

const link = () => service.workers[0].link;
const lent = () => [...server.links, link()].reduce((sum, { handles }) => sum + handles.memory.account.lent, 0);

/** Collects garbage until no memory is lent on any link. */
async function nothingLent() {
  while (lent() > 0) {
    collect();
    await new Promise(setImmediate);
  }
}

before(async () => {
  fs.writeFileSync(program, PROGRAM);
  await server.listen();
  connect();
});

// When its variables are gone.
afterEach(nothingLent);

after(() => {
  link()?.socket.destroy();
  server.server.close();
  fs.rmSync(folder, { recursive: true });
});

test('large arrays of every kind cross beyond what a message may hold, and come back', async () => {
  for (const Class of [Int8Array, Uint8ClampedArray, Uint16Array, Float32Array, Float64Array, BigInt64Array]) {
    const array = new Class((2 << 20) / Class.BYTES_PER_ELEMENT);
    array[array.length - 1] = Class === BigInt64Array ? 7n : 7;
    assert.equal(await call('total', array), 7);
    const back = await call('same', array);
    assert.equal(back.constructor, Class);
    assert.deepEqual(back, array);
  }
  const bytes = Buffer.alloc(2 << 20, 'x');
  const back = await call('same', { deep: [bytes] });
  assert.ok(Buffer.isBuffer(back.deep[0]) && back.deep[0].equals(bytes));
  const matrix = new NdArray('<f8', [512, 512], new Float64Array(512 * 512).fill(2));
  assert.deepEqual(await call('same', matrix), matrix);
});

test('the receiver may write to its array, and the sender sees nothing of it', async () => {
  const array = new Float64Array(10_000);
  await call('fill', array, 3);
  assert.equal(array[0], 0);
});

test('a shared array of any size is seen by both sides, also when it comes home or is part of one', async () => {
  for (const length of [1, 1000, 1_000_000]) {
    const array = shared(Float64Array, length * 2);
    assert.ok(array.every((item) => item === 0));
    await call('fill', array, 5);
    assert.equal(array[length], 5);
    const half = await call('half', array);
    assert.equal(half.length, length);
    half[0] = 9;
    assert.equal(array[length], 9);
    await call('fill', array.subarray(0, 1), 4);
    assert.equal(array[0], 4);
  }
});

test('memory is not used again while the other side looks at it', async () => {
  await call('keep', new Float64Array(10_000).fill(1));
  for (let i = 0; i < 50; i++) await call('total', new Float64Array(10_000).fill(2));
  assert.equal(await call('kept'), 1);
  await call('forget');
});

test('a released array has no elements, and does not cross', async () => {
  const array = shared(Float64Array, 1000);
  await call('keep', array);
  array.release();
  array.release();
  assert.equal(array.length, 0);
  assert.equal(array[0], undefined);
  await assert.rejects(call('total', array), (error) => error instanceof Released && error.code === 'BIREME_RELEASED');
  assert.throws(() => release(new Float64Array(1)), TypeError);
  // Who has it still may look.
  assert.equal(await call('kept'), 0);
  await call('forget');
  const received = await call('same', new Float64Array(10_000));
  release(received);
  await assert.rejects(call('total', received), Released);
  assert.equal(await call('releases', shared(Uint8Array, 10)), 0);
});

test('where no memory is left, arrays go into messages, and shared() says so', async () => {
  native.configure(1 << 20);
  assert.throws(() => shared(Float64Array, 1 << 20), (error) => error instanceof SharedMemoryFull && /shared_bytes_max/.test(error.message));
  assert.equal(await call('total', new Float64Array(100_000).fill(1)), 100_000);
  await assert.rejects(call('total', new Float64Array(1 << 20)), CannotCross);
  native.configure(options.shared_bytes_max);
});

test('arguments of shared() are checked', () => {
  assert.throws(() => shared('float64', 3), TypeError);
  assert.throws(() => shared(Array, 3), TypeError);
  for (const length of [-1, 1.5, NaN, undefined]) assert.throws(() => shared(Float64Array, length), RangeError);
  assert.equal(shared(Float64Array, 0).length, 0);
});

test('an array stays as it is when its link is closed, and its memory is not used again', async () => {
  const received = await call('same', new Float64Array(10_000).fill(1));
  const over = link();
  over.socket.destroy();
  await new Promise((resolve) => over.socket.once('close', resolve));
  connect('again');
  for (let i = 0; i < 50; i++) await call('same', new Float64Array(10_000).fill(2));
  assert.ok(received.every((item) => item === 1));
});

test('a message that cannot be sent lends nothing', async () => {
  await call('kept').catch(() => {});
  const before = lent();
  await assert.rejects(call('total', new Float64Array(10_000), Symbol('nothing')), CannotCross);
  assert.equal(lent(), before);
});

test('a thousand arrays of a megabyte leave nothing behind', async () => {
  for (let i = 0; i < 1000; i++) await call('same', new Uint8Array(1 << 20));
  await nothingLent();
  // Two idle segments, and those with what the links of this file have told each other to try.
  assert.ok(native.heldBytes() <= 128 << 20, `${native.heldBytes()} bytes are held`);
});
