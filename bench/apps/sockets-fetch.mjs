// Echo, or a room whose messages all get: Bireme's own form, which is Bun's.
const room = 'room';

export default {
  fetch(request, server) {
    const { pathname } = new URL(request.url);
    if (server.upgrade(request, { data: pathname })) return undefined;
    return new Response('Hello, world!');
  },
  websocket: {
    open(ws) {
      if (ws.data !== '/echo') ws.subscribe(room);
    },
    message(ws, data) {
      if (ws.data === '/echo') ws.send(data);
      else served.publish(room, data);
    },
  },
};

// Bun serves the module through sockets-bun.mjs, which says here what it serves with.
let served;
export function serveWith(server) {
  served = server;
}
if (!process.versions.bun) serveWith(process.getBuiltinModule('module').createRequire(import.meta.url)('bireme'));
