'use strict';
// What a worker does with peers that break the protocol, and what a caller does with such workers: the link ends, the
// process does not.

const assert = require('node:assert/strict');
const fs = require('node:fs');
const net = require('node:net');
const path = require('node:path');
const { after, before, test } = require('node:test');

const { MARK } = require('../src/calls/codes.js');
const { readValue } = require('../src/calls/read.js');
const { ValueWriter } = require('../src/calls/write.js');
const { FrameReader, TYPE } = require('../src/frames.js');
const { FakeBroker } = require('./fake-broker.js');
const { frame } = require('./fake-front.js');

const golden = JSON.parse(fs.readFileSync(path.join(__dirname, '../../protocol/golden/calls.json'), 'utf8'));
const T = { MARK: 0x3f, HELLO: 1, DATA: 0x12, CREDIT: 0x15, BIND: 0x33, CALL: 0x34, RESULT: 0x35, ERROR: 0x36, ITEM: 0x37, CANCEL: 0x38, QUEUED: 0x39, STARTED: 0x3a, RELEASE: 0x3b };
const END = 1;
const HANDLE = 4;

let broker;
let worker;

before(async () => {
  broker = await new FakeBroker().start();
  worker = await broker.worker();
  broker.write('functions.mjs', 'export const add = (a, b) => a + b; export const keep = () => {}; export function* one() { yield 1 }');
});

after(() => broker.stop());

const u32 = (...numbers) => Buffer.from(new Uint32Array(numbers).buffer);
const text = (value) => Buffer.concat([Buffer.from([0x78, value.length]), Buffer.from(value)]);

function hello(token = broker.token, link = 'call', version = 1) {
  return frame(T.HELLO, 0, { aux: version, payload: Buffer.from(JSON.stringify({ token, link, from: 'test', pid: 1, language: 'node' })) });
}

function bind(number, name, file = path.join(broker.folder, 'functions.mjs')) {
  return frame(T.BIND, 0, { payload: Buffer.concat([u32(number), Buffer.from([0xa2]), text('file'), text(file), text('name'), text(name)]) });
}

function call(stream, target, { args = Buffer.from([0x82, 1, 2]), flags = END, timeout = 0 } = {}) {
  return frame(T.CALL, stream, { flags, payload: Buffer.concat([u32(target, timeout), Buffer.from([0, 0]), args]) });
}

const connect = (...frames) => connectTo(worker.path, ...frames);

/** A connection to a worker, with the frames that it sends. */
async function connectTo(socketPath, ...frames) {
  const socket = net.connect(socketPath);
  const got = [];
  let buffered = Buffer.alloc(0);
  const waiting = [];
  const closed = new Promise((resolve) => socket.once('close', () => resolve('closed')));
  socket.on('error', () => {});
  socket.on('data', (bytes) => {
    buffered = Buffer.concat([buffered, bytes]);
    while (buffered.length >= 12 && buffered.length >= 12 + buffered.readUInt32LE(0)) {
      const end = 12 + buffered.readUInt32LE(0);
      got.push({ stream: buffered.readUInt32LE(4), type: buffered[8], flags: buffered[9], payload: buffered.subarray(12, end) });
      buffered = buffered.subarray(end);
    }
    for (const wake of waiting.splice(0)) wake();
  });
  socket.write(Buffer.concat(frames));
  const until = async (test) => {
    while (!got.some(test)) await new Promise((resolve) => waiting.push(resolve));
    return got.find(test);
  };
  return { socket, closed, until, got };
}

const RESULT = (stream) => (got) => got.type === T.RESULT && got.stream === stream;

test('a caller written from the specification alone is answered', async () => {
  const peer = await connect(hello(), bind(1, 'add'), call(1, 1), bind(2, 'one'), call(3, 2, { args: Buffer.from([0x80]) }));
  assert.deepEqual([...(await peer.until(RESULT(1))).payload], [3]);
  const begin = await peer.until(RESULT(3));
  assert.equal(begin.flags, 3);
  assert.deepEqual([...(await peer.until((got) => got.type === T.ITEM && got.payload.length > 0)).payload], [1]);
  peer.socket.destroy();
});

test('the golden frames are read and written', () => {
  assert.ok(golden.frames.length > 30);
  for (const { name, hex, kind, flags, stream, aux, ...meaning } of golden.frames) {
    const writer = new ValueWriter(null);
    let payload;
    const reader = new FrameReader((...found) => {
      assert.deepEqual(found.slice(0, 4), [TYPE[kind], flags, stream, aux], name);
      payload = Buffer.from(found[4].subarray(found[5], found[6]));
      writer.bytes(TYPE[kind], stream, aux, flags, payload);
    });
    const bytes = Buffer.from(hex, 'hex');
    reader.read(bytes, bytes.length);
    assert.equal(Buffer.from(writer.take()).toString('hex'), hex, name);
    // What this side itself reads and writes of MEMORY, MARK and RELEASE.
    if (kind === 'MEMORY' && meaning.sample !== null) assert.deepEqual(readValue(payload, 0, payload.length, null), meaning.sample);
    if (kind === 'MARK') assert.deepEqual([...new Uint32Array(new Uint8Array(payload).buffer)], [meaning.number, MARK.IDEMPOTENT]);
  }
});

const A_BREACH = [
  ['no HELLO', () => [call(1, 1)]],
  ['a wrong token', () => [hello('wrong')]],
  ['another kind of link', () => [hello(broker.token, 'broker')]],
  ['another version', () => [hello(broker.token, 'call', 2)]],
  ['HELLO that is no JSON', () => [frame(T.HELLO, 0, { aux: 1, payload: Buffer.from('{') })]],
  ['a second HELLO', () => [hello(), hello()]],
  ['an unknown type', () => [hello(), frame(0x7f, 0)]],
  ['a stream of the wrong parity', () => [hello(), bind(1, 'add'), call(2, 1)]],
  ['streams that do not rise', () => [hello(), bind(1, 'add'), call(5, 1), call(3, 1)]],
  ['a target never bound', () => [hello(), call(1, 9)]],
  ['a BIND out of order', () => [hello(), bind(2, 'add')]],
  ['a BIND of nothing', () => [hello(), frame(T.BIND, 0, { payload: Buffer.concat([u32(1), Buffer.from([0xa0])]) })]],
  ['a CALL that ends early', () => [hello(), bind(1, 'add'), frame(T.CALL, 1, { flags: END, payload: u32(1) })]],
  ['a member longer than its frame', () => [hello(), bind(1, 'add'), frame(T.CALL, 1, { flags: END, payload: Buffer.concat([u32(1, 0), Buffer.from([255, 255, 0x80])]) })]],
  ['arguments that are no array', () => [hello(), bind(1, 'add'), call(1, 1, { args: Buffer.from([1]) })]],
  ['arguments that are no value', () => [hello(), bind(1, 'add'), call(1, 1, { args: Buffer.from([0x9f]) })]],
  ['a RESULT to no call', () => [hello(), frame(T.RESULT, 2, { flags: END, payload: Buffer.from([1]) })]],
  ['DATA after nothing', () => [hello(), frame(T.DATA, 1, { flags: END })]],
  ['a CANCEL of a stream never opened', () => [hello(), frame(T.CANCEL, 7, { aux: 1 })]],
  ['CREDIT of a stream never opened', () => [hello(), frame(T.CREDIT, 7, { payload: u32(5) })]],
  ['a MARK of what was never bound', () => [hello(), frame(T.MARK, 0, { payload: u32(1, 1) })]],
  ['a RELEASE of what was never given', () => [hello(), frame(T.RELEASE, 0, { payload: u32(3, 1) })]],
  ['a frame that is too long', () => [hello(), (() => { const f = frame(T.CALL, 1); f.writeUInt32LE(1 << 21, 0); return f; })()]],
];
for (const [what, frames] of A_BREACH) {
  test(`${what} ends the link, and nothing else`, async () => {
    const peer = await connect(...frames());
    assert.equal(await peer.closed, 'closed');
    const other = await connect(hello(), bind(1, 'add'), call(1, 1));
    assert.deepEqual([...(await other.until(RESULT(1))).payload], [3]);
    other.socket.destroy();
    assert.equal(worker.child.exitCode, null);
  });
}

test('a caller hears a MARK once, before the first run, also when the call of another has loaded the module', async () => {
  broker.write('marked.mjs', "import { idempotent } from 'bireme'; export const once = idempotent(() => 7); export const twice = () => 8;");
  const file = path.join(broker.folder, 'marked.mjs');
  const early = await connect(hello(), bind(1, 'once', file), bind(2, 'add'), call(1, 2));
  await early.until(RESULT(1));
  const other = await connect(hello(), bind(1, 'once', file), bind(2, 'twice', file), call(1, 1), call(3, 2));
  await other.until(RESULT(3));
  early.socket.write(Buffer.concat([call(3, 1), call(5, 1)]));
  await early.until(RESULT(5));
  for (const [peer, first] of [[other, 1], [early, 3]]) {
    const marks = peer.got.filter(({ type }) => type === T.MARK);
    assert.deepEqual(marks.map(({ payload }) => [...payload]), [[...u32(1, MARK.IDEMPOTENT)]]);
    assert.ok(peer.got.indexOf(marks[0]) < peer.got.findIndex(RESULT(first)));
    peer.socket.destroy();
  }
});

test('a caller hears that its call has begun, whatever that does to the worker', async () => {
  const doomed = await broker.worker('doomed');
  const file = broker.write('doomed.mjs', "export const one = () => 1; export const die = () => process.kill(process.pid, 'SIGKILL');");
  // Both wait for the file to load, and begin in the same turn.
  const peer = await connectTo(doomed.path, hello(), bind(1, 'one', file), bind(2, 'die', file), call(1, 1), call(3, 2));
  await peer.closed;
  assert.deepEqual(peer.got.filter(({ stream }) => stream === 3).map(({ type }) => type), [T.QUEUED, T.STARTED]);
});

test('a handle that was never given is an error of its call', async () => {
  const peer = await connect(hello(), call(1, 77, { flags: END | HANDLE }));
  const error = await peer.until((got) => got.type === T.ERROR && got.stream === 1);
  assert.match(error.payload.toString('latin1'), /BIREME_RELEASED/);
  peer.socket.destroy();
});

test('a worker that breaks the protocol loses its link; the call says so', async () => {
  const server = net.createServer((socket) => {
    socket.on('error', () => {});
    socket.on('data', () => socket.write(frame(0x7f, 0)));
  });
  const socketPath = path.join(broker.folder, 'liar.sock');
  await new Promise((resolve) => server.listen(socketPath, resolve));
  broker.workers.set('liar#1', { name: 'liar#1', service: 'liar', path: socketPath, here: true, child: { kill() {} }, exited: Promise.resolve() });
  Object.assign(process.env, broker.environment);
  const { WorkerLost } = require('../src/bireme.js');
  const { python } = require('../src/calls/python.js');
  await assert.rejects(python('x', { service: 'liar' }).f(), (error) => error instanceof WorkerLost && error.started === 'unknown');
  server.close();
});
