// Rooms of socket.io over the servers of two workers; see tests/e2e/test_adapters.py.
const http = require('node:http');
const { Server } = require('socket.io');
const { createAdapter } = require('bireme/socket.io-adapter');

const server = http.createServer((request, response) => response.end(String(process.pid)));
const io = new Server(server, { adapter: createAdapter() });

io.on('connection', (socket) => {
  socket.emit('pid', process.pid);
  socket.on('join', (room, done) => {
    socket.join(room);
    done();
  });
  socket.on('say', (room, text) => socket.to(room).emit('said', text, Buffer.from(text)));
  socket.on('everyone', async (done) => done((await io.fetchSockets()).map((other) => other.id).sort()));
  socket.on('count', async (room, done) => done((await io.in(room).timeout(2000).emitWithAck('are you there')).length));
});

server.listen(0);
