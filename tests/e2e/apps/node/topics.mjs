// Rooms over topics; see tests/e2e/test_topics.py.
export default {
  async fetch(request, server) {
    const { pathname, searchParams } = new URL(request.url);
    if (pathname === '/publish') return new Response(String(server.publish(searchParams.get('topic'), await request.text())));
    server.upgrade(request, { data: searchParams.get('room') });
    return undefined;
  },
  websocket: {
    open(ws) {
      ws.subscribe(ws.data);
      ws.send(`in ${ws.data}`);
    },
    message(ws, data) {
      if (data === 'leave') {
        ws.unsubscribe(ws.data);
        ws.send(`left ${ws.data}, still in: ${ws.isSubscribed(ws.data)}`);
      } else ws.publish(ws.data, data);
    },
  },
};
