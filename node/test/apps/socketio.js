'use strict';
const http = require('node:http');
const express = require('express');
const { Server } = require('socket.io');

const app = express();
app.get('/', (req, res) => res.send('page'));
const server = http.createServer(app);
const io = new Server(server);
io.on('connection', (socket) => {
  socket.on('add', (a, b, answer) => answer(a + b));
  socket.on('join', async (room, answer) => {
    await socket.join(room);
    answer();
  });
  socket.on('tell', (room, news) => io.to(room).emit('news', news));
});
server.listen(3000);
