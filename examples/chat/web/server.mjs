// The rooms of the chat example. The page's sockets live in the front; this module decides what happens on them, has Python
// read and keep every message, and publishes it to all who are in the room, whichever worker they came through.

import { readFileSync } from 'node:fs';

const page = readFileSync(new URL('page.html', import.meta.url), 'utf8');
const history = new URL(process.env.CHAT_HISTORY ?? 'http://127.0.0.1:8000/api/');
const ROOM = /^\/rooms\/([a-z0-9-]{1,40})\/socket$/;
const NAME_LENGTH_MAX = 40;
const HISTORY_TIMEOUT_MS = 10_000;

/** Asks Python. GET and PUT may be done twice without harm, so the front repeats them should a Python worker die. */
async function ask(path, options = {}) {
  const response = await fetch(new URL(path, history), { ...options, signal: AbortSignal.timeout(HISTORY_TIMEOUT_MS) });
  const answer = await response.json();
  if (!response.ok) throw new Error(answer.error ?? answer.title ?? `the history answered ${response.status}`);
  return answer;
}

const keep = (room, id, author, text) =>
  ask(`rooms/${room}/messages/${encodeURIComponent(id)}`, { method: 'PUT', body: JSON.stringify({ author, text }) });

const read = (room, number) => ask(`rooms/${room}/messages?after=${number}`);

const topicOf = (room) => `room:${room}`;

/** What a page may send. Each returns nothing; what fails is told to the page that asked. */
const requests = {
  async say(ws, server, { id, text }) {
    const { room, name } = ws.data;
    const message = await keep(room, String(id), name, String(text));
    server.publish(topicOf(room), JSON.stringify({ type: 'message', ...message }));
  },

  async after(ws, _server, { number }) {
    const messages = await read(ws.data.room, Number(number));
    for (const message of messages) {
      ws.send(JSON.stringify({ type: 'message', ...message }));
    }
    ws.send(JSON.stringify({ type: 'caught-up', oldest: messages[0]?.number ?? 0 }));
  },

  typing(ws) {
    ws.publish(topicOf(ws.data.room), JSON.stringify({ type: 'typing', ...ws.data }));
  },

  here(ws) {
    ws.publish(topicOf(ws.data.room), JSON.stringify({ type: 'here', ...ws.data }));
  },
};

let front = null;

export default {
  async fetch(request, server) {
    front = server;
    const url = new URL(request.url);
    const room = ROOM.exec(url.pathname)?.[1];
    if (room === undefined) {
      if (url.pathname === '/healthz') return Response.json({ service: 'web', pid: process.pid });
      if (url.pathname !== '/') return new Response('not found', { status: 404 });
      return new Response(page, { headers: { 'content-type': 'text/html; charset=utf-8' } });
    }
    const name = url.searchParams.get('name')?.slice(0, NAME_LENGTH_MAX);
    const session = url.searchParams.get('session');
    if (!name || !session) return new Response('name and session are needed', { status: 400 });
    if (server.upgrade(request, { data: { room, name, session } })) return undefined;
    return new Response('this is a WebSocket', { status: 426 });
  },

  websocket: {
    open(ws) {
      ws.subscribe(topicOf(ws.data.room));
      ws.publish(topicOf(ws.data.room), JSON.stringify({ type: 'joined', ...ws.data }));
    },

    async message(ws, data) {
      let request;
      try {
        request = JSON.parse(data);
        await requests[request.type](ws, front, request);
      } catch (error) {
        ws.send(JSON.stringify({ type: 'failed', id: request?.id, reason: error.message }));
      }
    },

    close(ws) {
      front.publish(topicOf(ws.data.room), JSON.stringify({ type: 'left', ...ws.data }));
    },
  },
};
