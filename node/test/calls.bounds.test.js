'use strict';
// How long the ends of a call link wait for each other when they meet. The clock of both is the test's.

const assert = require('node:assert/strict');
const fs = require('node:fs');
const net = require('node:net');
const os = require('node:os');
const path = require('node:path');
const { after, mock, test } = require('node:test');

// Before the runtime takes its timers.
mock.timers.enable({ apis: ['setTimeout'] });

const runtime = process.env.XTASK_RUNTIME ?? path.join(__dirname, '../../target/release/runtime');
const source = (file) => require(path.join(runtime, 'node/src', file));
const { Client } = source('calls/client.js');
const { CallServer } = source('calls/server.js');
const { Output } = source('calls/output.js');
const { Service } = source('calls/service.js');
const { frame } = require('./fake-front.js');

const T = { HELLO: 1, BIND: 0x33, CALL: 0x34, RESULT: 0x35 };
const HELLO_TIMEOUT_MS = 10_000;
const MEMORY_TIMEOUT_MS = 1000;

const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'bireme-bounds-'));
after(() => fs.rmSync(folder, { recursive: true }));

/** Connects to a worker; `closed` resolves when that has ended the connection. */
async function meet(server, hello) {
  const before = server.links.size;
  const socket = net.connect(server.path);
  const closed = new Promise((resolve) => socket.once('close', resolve));
  socket.resume();
  if (hello !== undefined) socket.write(frame(T.HELLO, 0, { aux: 1, payload: Buffer.from(JSON.stringify(hello)) }));
  while (server.links.size === before) await new Promise(setImmediate);
  const [link] = [...server.links].slice(-1);
  while (hello !== undefined && link.onHello !== null) await new Promise(setImmediate);
  return { socket, closed };
}

test('who connects and says nothing is sent away after ten seconds, and nobody else', async () => {
  const server = new CallServer(path.join(folder, 'calls.sock'), 'secret');
  await server.listen();
  const stranger = await meet(server);
  const caller = await meet(server, { token: 'secret', link: 'call', from: 'test', pid: process.pid, language: 'node' });
  assert.equal(server.links.size, 2);
  mock.timers.tick(HELLO_TIMEOUT_MS - 1);
  assert.deepEqual([...server.links].map(({ socket }) => socket.destroyed), [false, false]);
  mock.timers.tick(1);
  await stranger.closed;
  while (server.links.size > 1) await new Promise(setImmediate);
  assert.equal([...server.links][0].socket.destroyed, false);
  caller.socket.destroy();
  await server.drained();
});

test('a call waits a second for a worker to say whether memory can be shared', async () => {
  const client = new Client({}, { root: folder });
  client.token = 'secret';
  const socketPath = path.join(folder, 'silent.sock');
  let heard = Buffer.alloc(0);
  const server = net.createServer((socket) => {
    socket.on('data', (bytes) => {
      heard = Buffer.concat([heard, bytes]);
      const call = frames().find(({ type }) => type === T.CALL);
      if (call !== undefined) socket.write(frame(T.RESULT, call.stream, { flags: 1, payload: Buffer.from([7]) }));
    });
  });
  const frames = () => {
    const found = [];
    for (let at = 0; at < heard.length; at += 12 + heard.readUInt32LE(at)) found.push({ type: heard[at + 8], stream: heard.readUInt32LE(at + 4) });
    return found;
  };
  await new Promise((resolve) => server.listen(socketPath, resolve));
  const service = new Service(client, 'silent', { timeout_ms: 0, in_flight_max: 8, message_bytes_max: 1 << 20, shared_bytes_min: 65_536, shared_bytes_max: 1 << 28 });
  service.setWorkers([{ worker: 'silent#1', path: socketPath }]);
  const place = client.place({ language: 'python', module: 'silent' }, {});
  place.service = service;
  const answer = client.call(client.target(place, 'f'), [1], undefined, 0);
  while (heard.length === 0) await new Promise(setImmediate);
  mock.timers.tick(MEMORY_TIMEOUT_MS - 1);
  assert.deepEqual([client.counts().waiting, client.counts().outgoing], [1, 0]);
  mock.timers.tick(1);
  assert.equal(await answer, 7);
  assert.deepEqual(frames().map(({ type }) => type), [T.HELLO, T.BIND, T.CALL]);
  service.workers[0].link.leave();
  await new Promise((resolve) => server.close(resolve));
});

test('a link that is left says all that it has to say, also behind a write that is under way', () => {
  const said = [];
  const socket = { write: (bytes) => said.push(bytes.length), end: () => said.push('end') };
  const output = new Output(socket, null, 1 << 20);
  output.cancel(1, 0);
  output.flush();
  output.cancel(3, 0);
  output.flush();
  assert.equal(said.length, 1);
  output.end();
  assert.deepEqual(said, [said[0], said[0], 'end']);
});
