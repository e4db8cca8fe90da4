'use strict';
const express = require('express');

const app = express();
app.use(express.json());
app.get('/', (request, response) => response.type('text').send('hello'));
app.get('/json', (request, response) => response.json({ ok: true }));
app.post('/json', (request, response) => response.json({ got: request.body }));
app.get('/items/:id', (request, response) => response.json({ id: request.params.id, query: request.query }));
app.get('/inspect', (request, response) =>
  response.json({ method: request.method, target: request.originalUrl, ip: request.ip, host: request.hostname }));
app.post('/echo', (request, response) => request.pipe(response));
app.get('/redirect', (request, response) => response.redirect('/json'));
app.get('/file', (request, response) => response.sendFile(__filename));
app.get('/boom', () => {
  throw new Error('the application broke on purpose');
});
app.listen(3000);
