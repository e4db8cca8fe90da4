'use strict';
const http = require('node:http');
const { WebSocketServer } = require('ws');

const server = http.createServer((request, response) => response.end('hello'));
const sockets = new WebSocketServer({ server });
sockets.on('connection', (socket, request) => {
  socket.on('message', (data, binary) => socket.send(binary ? data : `${request.url} ${data}`, { binary }));
});
server.listen(3000);
