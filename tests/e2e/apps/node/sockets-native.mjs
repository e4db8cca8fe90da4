// The sockets' contract in Bireme's own form; see tests/e2e/test_websockets.py.
export default {
  fetch(request, server) {
    const { pathname } = new URL(request.url);
    if (pathname === '/refused') return new Response(null, { status: 403 });
    if (pathname === '/denied') return new Response('who are you?', { status: 401, headers: { 'x-why': 'nobody' } });
    const headers = { 'x-app': 'native' };
    const offered = request.headers.get('sec-websocket-protocol') ?? '';
    if (offered.split(/, */).includes('chat')) headers['sec-websocket-protocol'] = 'chat';
    if (pathname === '/unasked') headers['sec-websocket-protocol'] = 'unasked';
    if (server.upgrade(request, { data: { pathname }, headers })) return undefined;
    return new Response('ok');
  },
  websocket: {
    open(ws) {
      if (ws.data.pathname === '/greeted') ws.send('welcome');
    },
    message(ws, data) {
      if (data === 'close') ws.close(4001, 'as you wish');
      else if (data === 'raise') throw new Error('asked to');
      else if (data === 'return') ws.close();
      else if (data === 'flood') for (let i = 0; i < 64; i++) ws.data.last = ws.send(new Uint8Array(1 << 20));
      else if (data === 'count') {
        ws.data.counted = Array.from({ length: 700 }, (_, i) => ws.send(String(i).padStart(8, '0').padEnd(16_384))).every(Boolean);
      } else ws.send(data);
    },
    drain(ws) {
      if (ws.data.last !== undefined) ws.send(`drained after ${ws.data.last}`);
      if (ws.data.counted) console.log('sent all');
      ws.data.counted = false;
    },
    close(ws, code, reason) {
      console.log('left', code, reason);
    },
  },
};
