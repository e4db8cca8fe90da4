'use strict';
// Upgraded connections: unmodified `ws` and socket.io, and raw listeners of 'upgrade'.

const assert = require('node:assert/strict');
const { test } = require('node:test');
const path = require('node:path');

const { bridge } = require('./bridge.js');
const { WINDOW, serve } = require('./fake-front.js');

const cwd = path.join(__dirname, 'apps');
const UPGRADE = { headers: [['Host', 'x'], ['Connection', 'upgrade'], ['Upgrade', 'raw']] };

/** A worker that answers upgrades with `body`, a function of `(req, socket, head)`. */
const program = (body, top = '') => ({
  name: 'a.js',
  source: `${top}
    const server = require('http').createServer((req, res) => res.end('plain'));
    server.on('upgrade', (req, socket, head) => {\n${body}\n});
    server.listen(0);`,
});
const RAW = `socket.write('HTTP/1.1 101 Switching Protocols\\r\\nConnection: Upgrade\\r\\nUpgrade: raw\\r\\n\\r\\n');`;

async function withWs(t, source) {
  const front = await serve(t, path.join(cwd, source), { cwd });
  const bridged = await bridge(front);
  t.after(() => bridged.close());
  return { front, bridged };
}

function opened(socket) {
  return new Promise((resolve, reject) => socket.once('open', resolve).once('error', reject));
}
function message(socket) {
  return new Promise((resolve) => socket.once('message', (data, binary) => resolve(binary ? data : data.toString())));
}

test('ws: text, binary, ping, long messages, close codes', async (t) => {
  const WebSocket = require('ws');
  const { bridged } = await withWs(t, 'ws.js');
  const socket = new WebSocket(`ws://127.0.0.1:${bridged.port}/chat?room=1`);
  const welcome = message(socket);
  await opened(socket);
  assert.equal(await welcome, 'welcome to /chat?room=1 from 192.0.2.7');
  socket.send('hello');
  assert.equal(await message(socket), 'hello');
  const long = Buffer.alloc(2_000_000, 'abc');
  socket.send(long);
  assert.ok((await message(socket)).equals(long));
  const pong = new Promise((resolve) => socket.once('pong', resolve));
  socket.ping('p');
  assert.equal(String(await pong), 'p');
  const closed = new Promise((resolve) => socket.once('close', (code, reason) => resolve([code, String(reason)])));
  socket.send('close me');
  assert.deepEqual(await closed, [4001, 'as you wish']);
});

test('ws: the server sees a client that closes, one that vanishes, and refuses others', async (t) => {
  const WebSocket = require('ws');
  const { front, bridged } = await withWs(t, 'ws.js');
  const polite = new WebSocket(`ws://127.0.0.1:${bridged.port}/`);
  await opened(polite);
  polite.close(4002, 'bye');
  await new Promise((resolve) => polite.once('close', resolve));
  const rude = new WebSocket(`ws://127.0.0.1:${bridged.port}/`);
  await opened(rude);
  rude.terminate();
  const refused = new WebSocket(`ws://127.0.0.1:${bridged.port}/forbidden`);
  const error = await new Promise((resolve) => refused.once('error', resolve));
  assert.match(error.message, /401/);
  let seen;
  do seen = JSON.parse((await front.fetch({ target: '/seen' })).text);
  while (seen.length < 2);
  assert.deepEqual(seen, ['closed 4002 bye', 'closed 1006 ']);
});

test('socket.io: polling, upgrade to WebSocket, events, acknowledgements and rooms', async (t) => {
  const { io } = require('socket.io-client');
  const { bridged } = await withWs(t, 'socketio.js');
  const clients = [
    io(bridged.url, { transports: ['polling', 'websocket'], forceNew: true }),
    io(bridged.url, { transports: ['websocket'], forceNew: true }),
  ];
  t.after(() => clients.forEach((client) => client.close()));
  await Promise.all(clients.map((client) => new Promise((resolve, reject) => client.once('connect', resolve).once('connect_error', reject))));
  assert.equal(await clients[0].emitWithAck('add', 2, 3), 5);
  const heard = new Promise((resolve) => clients[1].once('news', resolve));
  await clients[1].emitWithAck('join', 'r');
  clients[0].emit('tell', 'r', { text: 'hi', bytes: Buffer.from([1, 2]) });
  const news = await heard;
  assert.equal(news.text, 'hi');
  assert.deepEqual([...news.bytes], [1, 2]);
  if (clients[0].io.engine.transport.name !== 'websocket') await new Promise((resolve) => clients[0].io.engine.once('upgrade', resolve));
  assert.equal(clients[0].io.engine.transport.name, 'websocket');
  assert.equal(await clients[0].emitWithAck('add', 1, 1), 2);
});

test('without an upgrade listener the request is a request', async (t) => {
  const front = await serve(t, { name: 'a.js', source: `require('http').createServer((req, res) => res.end(req.headers.upgrade)).listen(0)` });
  const exchange = await front.fetch(UPGRADE, { upgrade: true });
  assert.equal(exchange.text, 'raw');
  assert.equal(exchange.tunnel, false);
});

test('raw bytes pass both ways', async (t) => {
  const front = await serve(t, program(`${RAW}\nsocket.write(String(head.length));\nsocket.pipe(socket);`));
  const exchange = front.request(UPGRADE, { upgrade: true });
  await exchange.until(({ tunnel }) => tunnel);
  exchange.send(' first');
  exchange.send(' second', { end: true });
  await exchange.settled();
  assert.equal(exchange.tunnel, true);
  assert.equal(exchange.text, 'HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: raw\r\n\r\n0 first second');
});

test('a tunnel waits for credit in both directions', async (t) => {
  const front = await serve(t, program(`${RAW}
    const more = socket.write(Buffer.alloc(${WINDOW}));
    socket.once('drain', () => { socket.write('drained ' + more); socket.resume(); });`));
  const exchange = front.request(UPGRADE, { upgrade: true, autoCredit: false });
  await exchange.until(({ bytes }) => bytes === WINDOW);
  void exchange.upload(Buffer.alloc(WINDOW * 2), { end: false });
  await exchange.until(({ sendCredit }) => sendCredit === 0);
  assert.equal(exchange.credited, 0);
  exchange.creditedToWorker = 1000;
  exchange.credit(1000);
  await exchange.until(({ text }) => text.endsWith('drained false'));
  await exchange.until(({ credited }) => credited > 0);
});

test('an upgrade request destroyed without an answer is reset', async (t) => {
  const front = await serve(t, program(`socket.destroy();`));
  const exchange = await front.request(UPGRADE, { upgrade: true }).settled();
  assert.equal(exchange.reset.code, 2);
  assert.match(exchange.reset.text, /upgrade request without an answer/);
});

test('an upgrade request that is destroyed itself ends its connection, and nothing else', async (t) => {
  const front = await serve(t, program(`socket.on('close', () => console.log('socket closed'));\nreq.destroy();`));
  const exchange = await front.request(UPGRADE, { upgrade: true }).settled();
  assert.match(exchange.reset.text, /upgrade request without an answer/);
  assert.equal((await front.fetch()).text, 'plain');
  await front.drain();
  assert.match(front.output, /socket closed/);
});

test('a listener that throws resets its stream', async (t) => {
  const front = await serve(t, program(`throw new Error('boom');`));
  const exchange = await front.request(UPGRADE, { upgrade: true }).settled();
  assert.match(exchange.reset.text, /Error: boom/);
  assert.equal((await front.fetch()).text, 'plain');
});

test('the socket says of itself what a socket says', async (t) => {
  const front = await serve(t, program(`${RAW}
    const { remoteAddress, remotePort, remoteFamily, encrypted, readyState, connecting, destroyed, writable, readable } = socket;
    socket.end(JSON.stringify([remoteAddress, remotePort, remoteFamily, encrypted, readyState, connecting, destroyed, writable, readable,
      socket.setTimeout(0) === socket, socket.setNoDelay(true) === socket, socket.setKeepAlive(true, 5) === socket, req.socket === socket]));`));
  const exchange = await front.request({ ...UPGRADE, scheme: 1 }, { upgrade: true }).settled();
  assert.deepEqual(JSON.parse(exchange.text.slice(exchange.text.indexOf('['))), [
    '192.0.2.7', 50123, 'IPv4', true, 'open', false, false, true, true, true, true, true, true,
  ]);
});
