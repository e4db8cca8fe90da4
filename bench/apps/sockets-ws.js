// The same with ws (8; another package of the bench wants an older one).
const http = require('node:http');
const { WebSocketServer } = require('ws8');

const server = http.createServer((request, response) => response.end('Hello, world!'));
const sockets = new WebSocketServer({ server });
const room = new Set();

sockets.on('connection', (socket, request) => {
  if (request.url === '/echo') {
    socket.on('message', (data, isBinary) => socket.send(data, { binary: isBinary }));
    return;
  }
  room.add(socket);
  socket.on('close', () => room.delete(socket));
  socket.on('message', (data, isBinary) => {
    for (const other of room) other.send(data, { binary: isBinary });
  });
});

server.listen(Number(process.env.PORT), '127.0.0.1');
