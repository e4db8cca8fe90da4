// Rooms: what one member says is numbered and goes to all members of the room, the speaker included.
const rooms = new Map();

export default {
  fetch(request, server) {
    const room = new URL(request.url).pathname;
    if (server.upgrade(request, { data: { room } })) return undefined;
    return Response.json({ members: rooms.get(room)?.members.size ?? 0 });
  },

  websocket: {
    open(ws) {
      const { room } = ws.data;
      if (!rooms.has(room)) rooms.set(room, { members: new Set(), said: 0 });
      rooms.get(room).members.add(ws);
      ws.send('{"type":"welcome"}');
    },

    message(ws, data) {
      const room = rooms.get(ws.data.room);
      const { text } = JSON.parse(data);
      room.said += 1;
      const message = JSON.stringify({ type: 'message', number: room.said, text });
      for (const member of room.members) member.send(message);
    },

    close(ws) {
      const { room } = ws.data;
      const { members } = rooms.get(room);
      members.delete(ws);
      if (members.size === 0) rooms.delete(room);
    },
  },
};
