// Clients of socket.io: `node socketio-client.cjs PORT TRANSPORTS WORKERS [SCENARIO]`; prints "ok", or fails. See
// tests/e2e/test_adapters.py.
const assert = require('node:assert');
const { once } = require('node:events');
const { io } = require('socket.io-client');

const [port, list, workers, scenario = 'rooms'] = process.argv.slice(2);
const transports = list.split(',');

async function client(options = { reconnection: false }) {
  const socket = io(`http://127.0.0.1:${port}`, { transports, forceNew: true, ...options });
  const said = [];
  socket.on('said', (text, bytes) => said.push([text, bytes.toString()]));
  socket.on('are you there', (done) => done('yes'));
  const [pid] = await once(socket, 'pid');
  const { engine } = socket.io;
  const last = transports.at(-1);
  if (engine.transport.name !== last) await once(engine, 'upgrade');
  assert.strictEqual(engine.transport.name, last);
  return { socket, said, pid };
}

/** Everybody hears everybody, whichever worker each is connected to. */
async function rooms() {
  const clients = [];
  do clients.push(await client());
  while (new Set(clients.map(({ pid }) => pid)).size < workers || clients.length < 4);
  for (const { socket } of clients.slice(1)) await socket.emitWithAck('join', 'room');
  // Servers learn of each other by their first words.
  const ids = clients.map(({ socket }) => socket.id).sort();
  for (const { socket } of clients) assert.deepStrictEqual(await socket.emitWithAck('everyone'), ids);
  for (let i = 0; i < 50; i++) clients[0].socket.emit('say', 'room', `line ${i}`);
  assert.strictEqual(await clients[0].socket.emitWithAck('count', 'room'), clients.length - 1);
  const lines = Array.from({ length: 50 }, (_, i) => [`line ${i}`, `line ${i}`]);
  for (const { said } of clients.slice(1)) assert.deepStrictEqual(said, lines);
  assert.deepStrictEqual(clients[0].said, []);
}

/** Its worker dies: the client is told that its session is unknown, and connects to another. */
async function death() {
  const { socket, pid } = await client({ reconnectionDelay: 100 });
  const again = once(socket, 'pid');
  process.kill(pid, 'SIGKILL');
  const [other] = await again;
  assert.notStrictEqual(other, pid);
  await socket.emitWithAck('join', 'room');
}

({ rooms, death })[scenario]().then(
  () => {
    console.log('ok');
    process.exit(0);
  },
  (error) => {
    console.error(error);
    process.exit(1);
  },
);
