// Clients of socket.io against the port that is the argument; prints "ok", or fails. See tests/e2e/test_adapters.py.
const assert = require('node:assert');
const { once } = require('node:events');
const { io } = require('socket.io-client');

async function client(transports) {
  const socket = io(`http://127.0.0.1:${process.argv[2]}`, { transports, forceNew: true, reconnection: false });
  const said = [];
  socket.on('said', (text, bytes) => said.push([text, bytes.toString()]));
  socket.on('are you there', (done) => done('yes'));
  const [pid] = await once(socket, 'pid');
  return { socket, said, pid };
}

async function main() {
  const clients = [];
  do clients.push(await client(['websocket']));
  while (new Set(clients.map(({ pid }) => pid)).size < 2 || clients.length < 4);
  for (const { socket } of clients.slice(1)) await socket.emitWithAck('join', 'room');
  // Servers learn of each other by their first words.
  const ids = clients.map(({ socket }) => socket.id).sort();
  for (const { socket } of clients) assert.deepStrictEqual(await socket.emitWithAck('everyone'), ids);
  for (let i = 0; i < 50; i++) clients[0].socket.emit('say', 'room', `line ${i}`);
  assert.strictEqual(await clients[0].socket.emitWithAck('count', 'room'), clients.length - 1);
  const lines = Array.from({ length: 50 }, (_, i) => [`line ${i}`, `line ${i}`]);
  for (const { said } of clients.slice(1)) assert.deepStrictEqual(said, lines);
  assert.deepStrictEqual(clients[0].said, []);
  console.log('ok');
  process.exit(0);
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
