// Server-sent events from Express; see tests/e2e/test_sse.py.
const { Readable } = require('node:stream');
const express = require('express');
const { EventStream, subscribe } = require('bireme');
const { events, pieces } = require('./sse-producers.cjs');

const app = express();
app.get('/events', (request, response) => new EventStream(events, { retry: 1500, heartbeat: 50 }).send(request, response));
app.get('/direct', (request, response) => new EventStream(() => subscribe('go'), { heartbeat: 50 }).send(request, response));
app.get('/pieces', (request, response) => {
  response.type('text/plain');
  const source = Readable.from(pieces());
  response.on('close', () => source.destroy());
  source.pipe(response);
});
app.get('/', (request, response) => response.send('ok'));
app.listen(0);
