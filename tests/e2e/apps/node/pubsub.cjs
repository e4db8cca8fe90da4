// Topics outside of sockets, and on them; see tests/e2e/test_pubsub.py. Its Python halves are pubsub_asgi.py and pubsub_wsgi.py.
const bireme = require('bireme');

const heard = [];
bireme.subscribe('news', (data) => heard.push(typeof data === 'string' ? data : `bytes ${data.length}`));
const seen = [];
bireme.presence('room', (event) => seen.push([event.joined, event.name, event.members]));

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
    case 'topics':
      return bireme.topics();
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
