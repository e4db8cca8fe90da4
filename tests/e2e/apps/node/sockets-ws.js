'use strict';
// An echo by `ws`, which does its own framing: what tunnels carry. See tests/e2e/test_websockets.py.
const http = require('node:http');
const { WebSocketServer } = require('ws');

const server = http.createServer((request, response) => response.end('ok'));
// Two cases send 65,536 fragments, more than ws takes by default.
const sockets = new WebSocketServer({ server, perMessageDeflate: { threshold: 0 }, maxPayload: 64 << 20, maxFragments: 0, maxBufferedChunks: 0 });
sockets.on('connection', (socket) => {
  // What breaks the protocol has already closed the socket.
  socket.on('error', () => {});
  socket.on('message', (data, binary) => socket.send(data, { binary }));
});
server.listen(3000);
