// Sockets that outlive their worker; see tests/e2e/test_survival.py. Its Python half is survivor.py.
const bireme = require('bireme');

module.exports = {
  fetch(request, server) {
    const { searchParams } = new URL(request.url);
    if (server.upgrade(request, { data: { name: searchParams.get('name') }, headers: { 'sec-websocket-protocol': 'chat' } })) return undefined;
    return new Response('ok');
  },
  websocket: {
    open(ws) {
      ws.subscribe('room', { as: ws.data.name });
      ws.send(`open ${process.pid}`);
    },
    resume(ws) {
      ws.send(`resumed ${process.pid} ${ws.data.name} ${ws.subscriptions} ${ws.resumed}`);
    },
    message(ws, data) {
      if (data === 'id') ws.send(ws.id);
      else if (data === 'all') bireme.publish('room', 'to all');
      else if (data === 'leave') {
        ws.unsubscribe('room');
        ws.send('left');
      } else ws.send(data);
    },
    close(ws, code, reason) {
      console.log('closed', ws.data.name, code, reason);
    },
  },
};
