'use strict';
// An echo by `ws`, which does its own framing: what tunnels carry. See tests/e2e/test_websockets.py.
const http = require('node:http');
const { WebSocketServer } = require('ws');

const server = http.createServer((request, response) => response.end('ok'));
const sockets = new WebSocketServer({ server, perMessageDeflate: { threshold: 0 }, maxPayload: 64 << 20 });
sockets.on('connection', (socket) => {
  // What breaks the protocol has already closed the socket.
  socket.on('error', () => {});
  socket.on('message', (data, binary) => socket.send(data, { binary }));
});
server.listen(3000);
