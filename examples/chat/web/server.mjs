// The rooms of the chat example. The page's sockets live in the front; this module decides what happens on them, calls
// Python to read and keep every message, and publishes it to all who are in the room, whichever worker they came through.

import { readFileSync } from 'node:fs';
import { presence, publish } from 'bireme';
import { after, post } from '../ml/chat.py';

const page = readFileSync(new URL('page.html', import.meta.url), 'utf8');
const ROOM = /^\/rooms\/([a-z0-9-]{1,40})\/socket$/;
const NAME_LENGTH_MAX = 40;

// Both may be done twice without harm, a message having its id, so they are done again should a Python worker die.
const options = { idempotent: true, timeout: 10_000 };
const keep = post.with(options);
const read = after.with(options);

const topicOf = (room) => `room:${room}`;

/** What a page may send. Each returns nothing; what fails is told to the page that asked. */
const requests = {
  async say(ws, { id, text }) {
    const { room, name } = ws.data;
    const message = await keep(room, String(id), name, String(text));
    publish(topicOf(room), JSON.stringify({ type: 'message', ...message }));
  },

  async after(ws, { number }) {
    const messages = await read(ws.data.room, Number(number));
    for (const message of messages) {
      ws.send(JSON.stringify({ type: 'message', ...message }));
    }
    ws.send(JSON.stringify({ type: 'caught-up', oldest: messages[0]?.number ?? 0 }));
  },

  typing(ws) {
    ws.publish(topicOf(ws.data.room), JSON.stringify({ type: 'typing', name: ws.data.name }));
  },
};

/**
 * The sockets that this worker has in a room, and all people there, who may be on other workers' sockets. Each worker
 * watches who comes and goes, and tells its own sockets.
 */
class Room {
  static open = new Map();

  static of(name) {
    if (!Room.open.has(name)) Room.open.set(name, new Room(name));
    return Room.open.get(name);
  }

  constructor(name) {
    this.name = name;
    this.sockets = new Set();
    this.people = new Map();
    this.watch = presence(topicOf(name), (event) => this.changed(event));
  }

  changed({ joined, name: person }) {
    const pages = (this.people.get(person) ?? 0) + (joined ? 1 : -1);
    if (pages > 0) this.people.set(person, pages);
    else this.people.delete(person);
    const event = JSON.stringify({ type: pages > 0 ? 'here' : 'left', ...JSON.parse(person) });
    for (const ws of this.sockets) ws.send(event);
  }

  enter(ws) {
    this.sockets.add(ws);
    for (const person of this.people.keys()) ws.send(JSON.stringify({ type: 'here', ...JSON.parse(person) }));
  }

  leave(ws) {
    this.sockets.delete(ws);
    if (this.sockets.size > 0) return;
    this.watch.close();
    Room.open.delete(this.name);
  }
}

export default {
  async fetch(request, server) {
    const url = new URL(request.url);
    const room = ROOM.exec(url.pathname)?.[1];
    if (room === undefined) {
      if (url.pathname === '/healthz') return Response.json({ service: 'web', pid: process.pid });
      if (url.pathname !== '/') return new Response('not found', { status: 404 });
      return new Response(page, { headers: { 'content-type': 'text/html; charset=utf-8' } });
    }
    const name = url.searchParams.get('name')?.slice(0, NAME_LENGTH_MAX);
    const session = url.searchParams.get('session')?.slice(0, NAME_LENGTH_MAX);
    if (!name || !session) return new Response('name and session are needed', { status: 400 });
    if (server.upgrade(request, { data: { room, name, session } })) return undefined;
    return new Response('this is a WebSocket', { status: 426 });
  },

  websocket: {
    open(ws) {
      const { room, name, session } = ws.data;
      ws.subscribe(topicOf(room), { as: JSON.stringify({ name, session }) });
      Room.of(room).enter(ws);
    },

    /** Another worker has had the socket (`survive = true`): what it was given and had not done is lost with it. */
    resume(ws) {
      Room.of(ws.data.room).enter(ws);
      ws.send(JSON.stringify({ type: 'resumed' }));
    },

    async message(ws, data) {
      let request;
      try {
        request = JSON.parse(data);
        await requests[request.type](ws, request);
      } catch (error) {
        ws.send(JSON.stringify({ type: 'failed', id: request?.id, reason: error instanceof Error ? error.message : String(error) }));
      }
    },

    close(ws) {
      Room.of(ws.data.room).leave(ws);
    },
  },
};
