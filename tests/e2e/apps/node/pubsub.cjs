// Topics outside of sockets, and on them; see tests/e2e/test_pubsub.py. Its like in Python are pubsub_asgi.py and pubsub_wsgi.py.
const assert = require('node:assert/strict');
const bireme = require('bireme');

const heard = [];
bireme.subscribe('news', (data) => heard.push(typeof data === 'string' ? data : `bytes ${data.length}`));
const seen = [];
bireme.presence('room', (event) => seen.push([event.joined, event.name, event.members]));

const LONG = ['x'.repeat(1 << 21), new Uint8Array(1 << 21), 'é'.repeat(600_000), new BigUint64Array(1 << 18)];

/** What becomes of messages that are too long. */
function refusals() {
  return LONG.map((data) => {
    try {
      return bireme.publish('long', data);
    } catch (error) {
      return error.message;
    }
  });
}

/** How many messages of 1,000,000 bytes are taken when none of them can leave. */
function publishUntilFull() {
  let taken = 0;
  while (taken < 100 && bireme.publish('early', Buffer.alloc(1_000_000)) !== 0) taken++;
  return taken;
}

// Before the worker has links.
const early = { refused: refusals(), taken: publishUntilFull() };

async function answer(url, request) {
  const topic = url.searchParams.get('topic');
  switch (url.pathname.split('/').pop()) {
    case 'publish':
      for (const line of (await request.text()).split('\n')) bireme.publish(topic, line);
      return 'published';
    case 'bytes':
      bireme.publish(topic, new Uint8Array(await request.arrayBuffer()));
      return 'published';
    case 'heard':
      return heard;
    case 'seen':
      return seen;
    case 'early':
      return { ...early, 'refused later': refusals() };
    case 'topics': {
      // The first is answered alone, and the others by the next answer; none is another's, to be changed by it.
      const [, second, ...rest] = await Promise.all(Array.from({ length: 5 }, () => bireme.topics()));
      for (const answer of rest) {
        assert.deepEqual(answer, second);
        assert.ok(answer !== second);
      }
      return second;
    }
    case 'fill': {
      const open = [];
      try {
        for (;;) open.push(bireme.subscribe(`fill-${open.length}`, () => {}));
      } catch (error) {
        for (const subscription of open) subscription.close();
        return [open.length, error.name];
      }
    }
    case 'next': {
      for await (const data of bireme.subscribe(topic)) return data;
      return null;
    }
    default:
      return 'here';
  }
}

module.exports = {
  async fetch(request, server) {
    const url = new URL(request.url);
    const data = { topic: url.searchParams.get('topic'), as: url.searchParams.get('name') ?? '' };
    if (server.upgrade(request, { data })) return undefined;
    return Response.json(await answer(url, request));
  },
  websocket: {
    open(ws) {
      ws.subscribe(ws.data.topic, { as: ws.data.as });
      ws.send(`in ${ws.data.topic}`);
    },
    message(ws, data) {
      if (data === 'leave') ws.unsubscribe(ws.data.topic);
      else ws.publish(ws.data.topic, data);
    },
  },
};
