// Server-sent events from a fetch handler; see tests/e2e/test_sse.py.
const { EventStream, subscribe } = require('bireme');
const { events, pieces } = require('./sse-producers.cjs');

module.exports = {
  async fetch(request) {
    const { pathname } = new URL(request.url);
    if (pathname === '/events') return new EventStream(events, { retry: 1500, heartbeat: 50 }).response(request);
    if (pathname === '/direct') return new EventStream(() => subscribe('go'), { heartbeat: 50 }).response(request);
    if (pathname === '/pieces') {
      return new Response(ReadableStream.from(pieces()).pipeThrough(new TextEncoderStream()), { headers: { 'content-type': 'text/plain' } });
    }
    return new Response('ok');
  },
};
