'use strict';
// Server-sent events (WHATWG HTML §9.2): what a producer yields, as a response of `fetch` or of node:http.

const FIELDS = { 'content-type': 'text/event-stream; charset=utf-8', 'cache-control': 'no-store', 'x-accel-buffering': 'no' };
const COMMENT = ':\n\n';
const HEARTBEAT_MS = 15_000;

/**
 * A stream of events. `producer({ lastEventId, signal })` returns an iterable, best an async generator, or is one, like a
 * subscription to a topic. It yields strings, or `{ data, event, id, retry }`; `data` that is no string is sent as JSON.
 * When the client goes away, `signal` is aborted and the iteration is ended (`return()`).
 *
 * Options: `retry`, ms until the client comes back; `heartbeat`, ms without an event until a comment is sent, 0 for none;
 * `headers`.
 */
class EventStream {
  constructor(producer, { retry, heartbeat = HEARTBEAT_MS, headers = {} } = {}) {
    this.producer = producer;
    this.heartbeat = heartbeat;
    this.headers = { ...FIELDS, ...headers };
    // Something is sent at once, so that the client knows that it is connected.
    this.greeting = retry === undefined ? COMMENT : `retry: ${Math.trunc(retry)}\n\n`;
  }

  /** The answer of a `fetch` handler to `request`. */
  response(request) {
    const encoder = new TextEncoder();
    const run = new Run(this, request.headers.get('last-event-id'));
    request.signal?.addEventListener('abort', () => run.end(), { once: true });
    const body = new ReadableStream({
      start: (controller) => controller.enqueue(encoder.encode(this.greeting)),
      async pull(controller) {
        const text = await run.next();
        if (text === null) controller.close();
        else controller.enqueue(encoder.encode(text));
      },
      cancel: () => run.end(),
    });
    return new Response(body, { headers: this.headers });
  }

  /** Answers a request of node:http, Express or any other framework on it. Resolves when the response is over. */
  async send(request, response) {
    // The client has gone while the application was about to answer: nothing would end the producer.
    if (response.destroyed) return;
    const run = new Run(this, request.headers['last-event-id'] ?? null);
    response.on('close', () => run.end());
    response.writeHead(200, this.headers);
    response.write(this.greeting);
    try {
      for (let text; (text = await run.next()) !== null; ) {
        if (!response.write(text) && !response.destroyed) await drained(response);
      }
      response.end();
    } catch (error) {
      // Of the producer, or of an event that is none. It costs its response: handlers of node:http and Express 4 await nothing,
      // so that a rejection would end the worker.
      response.destroy(error);
    }
  }
}

/** One client's events. */
class Run {
  #abort = new AbortController();
  #iterator;
  #upcoming = null;
  #over = new Promise((resolve) => (this.end = resolve)).then(() => this.#ended());

  /** `field` is what the client repeats, as headers have it: UTF-8 whose every byte is a character (WHATWG HTML §9.2.3). */
  constructor({ producer, heartbeat }, field) {
    this.heartbeat = heartbeat;
    const lastEventId = field === null ? null : Buffer.from(field, 'latin1').toString();
    const source = typeof producer === 'function' ? producer({ lastEventId, signal: this.#abort.signal }) : producer;
    this.#iterator = (source[Symbol.asyncIterator] ?? source[Symbol.iterator]).call(source);
  }

  /** The next text for the client; null: no more. */
  async next() {
    this.#upcoming ??= Promise.resolve(this.#iterator.next());
    let timer;
    const pause = new Promise((resolve) => {
      if (this.heartbeat > 0) timer = setTimeout(resolve, this.heartbeat, 'pause');
    });
    try {
      const next = await Promise.race([this.#upcoming, this.#over, pause]);
      if (next === 'pause') return COMMENT;
      this.#upcoming = null;
      return next === undefined || next.done ? null : encode(next.value);
    } finally {
      clearTimeout(timer);
    }
  }

  /** The client has gone. */
  #ended() {
    this.#abort.abort();
    // A generator that waits ends when what it waits for does; its failure is nobody's business any more.
    Promise.resolve(this.#iterator.return?.()).catch(() => {});
    this.#upcoming?.catch(() => {});
  }
}

/** An event as text. */
function encode(event) {
  const { data, event: type, id, retry } = typeof event === 'string' ? { data: event } : event;
  let text = '';
  if (retry !== undefined) text += `retry: ${Math.trunc(retry)}\n`;
  if (type !== undefined) text += `event: ${line('event', type)}\n`;
  if (id !== undefined) text += `id: ${line('id', id)}\n`;
  if (data !== undefined) {
    const whole = typeof data === 'string' ? data : JSON.stringify(data);
    for (const part of whole.split(/\r\n|\r|\n/)) text += `data: ${part}\n`;
  }
  return `${text}\n`;
}

function line(name, value) {
  const text = String(value);
  if (/[\r\n\0]/.test(text)) throw new TypeError(`the ${name} of an event holds a line break or NUL: ${JSON.stringify(text)}`);
  return text;
}

function drained(response) {
  return new Promise((resolve) => {
    const done = () => {
      response.off('drain', done);
      response.off('close', done);
      resolve();
    };
    response.on('drain', done);
    response.on('close', done);
  });
}

module.exports = { EventStream };
