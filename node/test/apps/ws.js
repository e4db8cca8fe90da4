'use strict';
const http = require('node:http');
const { WebSocketServer } = require('ws');

const seen = [];
const server = http.createServer((req, res) => res.end(JSON.stringify(seen)));
const sockets = new WebSocketServer({
  server,
  verifyClient: ({ req }) => req.url !== '/forbidden',
});
sockets.on('connection', (socket, req) => {
  if (req.url.startsWith('/chat')) socket.send(`welcome to ${req.url} from ${req.socket.remoteAddress}`);
  socket.on('message', (data, binary) => {
    if (String(data) === 'close me') socket.close(4001, 'as you wish');
    else socket.send(data, { binary });
  });
  socket.on('close', (code, reason) => seen.push(`closed ${code} ${reason}`));
});
server.listen(3000);
