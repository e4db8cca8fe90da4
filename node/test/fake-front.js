'use strict';
// A front for tests: listens on a Unix socket, starts a worker as the real front does, and speaks frames with it. It
// encodes and decodes by hand, independent of src/frames.js, so that a mistake there is not made twice.

const { spawn } = require('node:child_process');
const fs = require('node:fs');
const net = require('node:net');
const os = require('node:os');
const path = require('node:path');

const BOOT = path.join(__dirname, '..', 'src', 'boot.cjs');

const T = {
  HELLO: 1, READY: 2, FAILED: 3, DRAIN: 4, PING: 5, PONG: 6, REQUEST: 0x10, RESPONSE: 0x11, DATA: 0x12, TRAILERS: 0x13,
  RESET: 0x14, CREDIT: 0x15, INFORMATIONAL: 0x16, TUNNEL: 0x17,
};
const END = 1;
const UPGRADE = 2;
const WINDOW = 262_144;

function frame(type, stream, { flags = 0, aux = 0, payload = Buffer.alloc(0) } = {}) {
  const header = Buffer.alloc(12);
  header.writeUInt32LE(payload.length, 0);
  header.writeUInt32LE(stream, 4);
  header[8] = type;
  header[9] = flags;
  header.writeUInt16LE(aux, 10);
  return Buffer.concat([header, payload]);
}

function u16(value) {
  return Buffer.from([value & 0xff, value >> 8]);
}

function requestPayload({
  method = 'GET', target = '/', headers = [['host', 'test.example']], body = Buffer.alloc(0), version = 11, scheme = 0,
  remote = '192.0.2.7', remotePort = 50123, local = '192.0.2.1', localPort = 8000, prefix = '', id = 'req-1',
}) {
  const strings = [method, target, remote, local, prefix, id].map((text) => Buffer.from(text, 'latin1'));
  const names = headers.map(([name, value]) => [Buffer.from(name, 'latin1'), Buffer.from(value, 'latin1')]);
  return Buffer.concat([
    Buffer.from([version, scheme]), u16(remotePort), u16(localPort), u16(headers.length),
    ...strings.map((bytes) => u16(bytes.length)),
    ...names.flatMap(([name, value]) => [u16(name.length), u16(value.length)]),
    ...strings, ...names.flat(), body,
  ]);
}

function cutFields(payload, at, count) {
  const lengths = [];
  for (let i = 0; i < count * 2; i++) lengths.push(payload.readUInt16LE(at + 2 * i));
  return { lengths, at: at + 4 * count };
}

function readFields(payload, at, lengths) {
  const fields = [];
  for (let i = 0; i < lengths.length; i += 2) {
    const name = payload.latin1Slice(at, at + lengths[i]);
    at += lengths[i];
    fields.push([name, payload.latin1Slice(at, at + lengths[i + 1])]);
    at += lengths[i + 1];
  }
  return { fields, at };
}

function responseHead(payload) {
  const reasonLength = payload.readUInt16LE(0);
  const cut = cutFields(payload, 4, payload.readUInt16LE(2));
  const reason = payload.latin1Slice(cut.at, cut.at + reasonLength);
  const { fields, at } = readFields(payload, cut.at + reasonLength, cut.lengths);
  return { reason, fields, body: payload.subarray(at) };
}

function fieldList(payload) {
  const cut = cutFields(payload, 2, payload.readUInt16LE(0));
  return readFields(payload, cut.at, cut.lengths).fields;
}

/** One stream as the front sees it. Everything that arrives is recorded; `settled` resolves when it is over. */
class Exchange {
  constructor(link, stream, { autoCredit }) {
    this.link = link;
    this.stream = stream;
    this.autoCredit = autoCredit;
    this.status = undefined;
    this.fields = [];
    this.chunks = [];
    this.bytes = 0;
    this.informational = [];
    this.trailers = null;
    this.reset = null;
    this.ended = false;
    this.tunnel = false;
    this.credited = 0;
    this.frames = [];
    this.sendCredit = WINDOW;
    this.waiters = [];
  }

  get body() {
    return Buffer.concat(this.chunks);
  }
  get text() {
    return this.body.toString();
  }
  header(name) {
    return this.fields.find(([key]) => key.toLowerCase() === name)?.[1];
  }
  headers(name) {
    return this.fields.filter(([key]) => key.toLowerCase() === name).map(([, value]) => value);
  }

  /** Resolves when `test(this)` holds, as soon as a frame makes it so. */
  until(test) {
    if (test(this)) return Promise.resolve(this);
    return new Promise((resolve) => this.waiters.push({ test, resolve }));
  }
  settled() {
    return this.until((exchange) => exchange.ended || exchange.reset !== null);
  }

  send(payload, { end = false } = {}) {
    this.link.write(frame(T.DATA, this.stream, { flags: end ? END : 0, payload: Buffer.from(payload) }));
  }
  sendTrailers(fields) {
    const names = fields.map(([name, value]) => [Buffer.from(name), Buffer.from(value)]);
    const payload = Buffer.concat([
      u16(fields.length), ...names.flatMap(([name, value]) => [u16(name.length), u16(value.length)]), ...names.flat(),
    ]);
    this.link.write(frame(T.TRAILERS, this.stream, { flags: END, payload }));
  }
  credit(bytes) {
    const payload = Buffer.alloc(4);
    payload.writeUInt32LE(bytes);
    this.link.write(frame(T.CREDIT, this.stream, { payload }));
  }
  cancel(code = 1) {
    this.link.write(frame(T.RESET, this.stream, { aux: code }));
  }

  /** Sends a long body within credit; resolves when all of it is sent. */
  async upload(bytes, { end = true } = {}) {
    let at = 0;
    while (at < bytes.length) {
      if (this.reset !== null) return at;
      await this.until((exchange) => exchange.sendCredit > 0 || exchange.reset !== null);
      const next = Math.min(bytes.length, at + Math.min(this.sendCredit, 65_536));
      this.sendCredit -= next - at;
      this.send(bytes.subarray(at, next), { end: end && next === bytes.length });
      at = next;
      this.#wake();
    }
    return at;
  }

  /** The link is gone: whoever waits for the end has it. */
  lost() {
    if (this.ended || this.reset !== null) return;
    this.reset = { code: undefined, text: 'the link closed' };
    this.#wake();
  }

  take(type, flags, aux, payload) {
    this.frames.push(type);
    switch (type) {
      case T.RESPONSE: {
        const head = responseHead(payload);
        this.status = aux;
        this.reason = head.reason;
        this.fields = head.fields;
        this.#body(head.body);
        break;
      }
      case T.TUNNEL:
        this.tunnel = true;
        // The END flag of the request no longer holds.
        this.ended = false;
        this.#body(payload);
        break;
      case T.DATA:
        this.#body(payload);
        break;
      case T.TRAILERS:
        this.trailers = fieldList(payload);
        break;
      case T.INFORMATIONAL:
        this.informational.push({ status: aux, fields: fieldList(payload) });
        break;
      case T.RESET:
        this.reset = { code: aux, text: payload.toString() };
        break;
      case T.CREDIT:
        this.sendCredit += payload.readUInt32LE(0);
        this.credited += payload.readUInt32LE(0);
        break;
      default:
        throw new Error(`frame type ${type} on a data link`);
    }
    if ((flags & END) !== 0) this.ended = true;
    this.#wake();
  }

  #body(bytes) {
    if (bytes.length === 0) return;
    this.bytes += bytes.length;
    if (this.autoCredit) {
      this.chunks.push(Buffer.from(bytes));
      if (!this.ended) this.credit(bytes.length);
    } else {
      this.chunks.push(Buffer.from(bytes));
      if (this.bytes > WINDOW + (this.creditedToWorker ?? 0)) throw new Error('the worker sent beyond its credit');
    }
  }

  #wake() {
    this.waiters = this.waiters.filter(({ test, resolve }) => {
      if (!test(this)) return true;
      resolve(this);
      return false;
    });
  }
}

class FakeLink {
  constructor(front, socket) {
    this.front = front;
    this.socket = socket;
    this.buffered = Buffer.alloc(0);
    this.name = undefined;
    this.exchanges = new Map();
    this.next = 1;
    this.closed = new Promise((resolve) => socket.once('close', resolve));
    socket.on('error', () => {});
    socket.on('close', () => {
      for (const exchange of this.exchanges.values()) exchange.lost();
    });
    socket.on('data', (bytes) => this.#take(bytes));
  }

  write(bytes) {
    this.socket.write(bytes);
  }

  #take(bytes) {
    this.buffered = Buffer.concat([this.buffered, bytes]);
    while (this.buffered.length >= 12) {
      const length = this.buffered.readUInt32LE(0);
      if (this.buffered.length < 12 + length) break;
      const header = this.buffered.subarray(0, 12);
      const payload = this.buffered.subarray(12, 12 + length);
      this.buffered = this.buffered.subarray(12 + length);
      this.front.take(this, header[8], header[9], header.readUInt32LE(4), header.readUInt16LE(10), payload);
    }
  }
}

class FakeFront {
  constructor() {
    this.folder = fs.mkdtempSync(path.join(os.tmpdir(), 'bireme-node-'));
    this.path = path.join(this.folder, 'link.sock');
    this.token = 'a-secret';
    this.server = net.createServer((socket) => new FakeLink(this, socket));
    this.control = null;
    this.links = [];
    this.output = '';
    this.pongs = [];
    this.outcome = new Promise((resolve) => {
      this.settle = resolve;
    });
  }

  /**
   * Starts `entry` (a path, or source text as `{ source, name }`) and resolves with READY's or FAILED's object, or with
   * `{ exited }` when the worker ends without either.
   */
  async start(entry, { links = 1, options = {}, args = [], nodeArgs = [], env = {}, cwd, node = process.execPath } = {}) {
    this.expected = links;
    await new Promise((resolve) => this.server.listen(this.path, resolve));
    let file = entry;
    if (typeof entry === 'object') {
      file = path.join(cwd ?? this.folder, entry.name);
      fs.writeFileSync(file, entry.source);
    }
    this.child = spawn(node, [...nodeArgs, '--require', BOOT, file, ...args], {
      cwd: cwd ?? this.folder,
      env: {
        ...process.env, NODE_OPTIONS: '', BIREME_LINK: this.path, BIREME_LINKS: String(links), BIREME_TOKEN: this.token,
        BIREME_OPTIONS: JSON.stringify(options), BIREME_SERVICE: 'test', BIREME_WORKER: 'test#1', ...env,
      },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    this.child.stdout.on('data', (data) => (this.output += data));
    this.child.stderr.on('data', (data) => (this.output += data));
    this.exited = new Promise((resolve) => {
      this.child.once('exit', (code, signal) => {
        resolve({ code, signal });
      });
    });
    this.exited.then((exited) => this.settle({ exited, output: this.output }));
    return this.outcome;
  }

  take(link, type, flags, stream, aux, payload) {
    if (link.name === undefined) {
      if (type !== T.HELLO) throw new Error(`the first frame is ${type}, not HELLO`);
      const hello = JSON.parse(payload);
      if (hello.token !== this.token || aux !== 1) throw new Error(`a wrong HELLO: ${payload}`);
      link.name = hello.link;
      link.hello = hello;
      if (hello.link === 'control') this.control = link;
      else this.links[hello.link] = link;
      this.#ready();
      return;
    }
    switch (type) {
      case T.READY:
        this.readyMessage = JSON.parse(payload);
        this.#ready();
        break;
      case T.FAILED:
        this.settle({ failed: JSON.parse(payload) });
        break;
      case T.PONG:
        this.pongs.push(payload.toString());
        this.onPong?.(payload.toString());
        break;
      default:
        link.exchanges.get(stream)?.take(type, flags, aux, payload);
    }
  }

  /** READY and the last HELLO come on different sockets, in any order. */
  #ready() {
    const here = this.links.filter((link) => link !== undefined).length;
    if (this.readyMessage !== undefined && here === this.expected) this.settle({ ready: this.readyMessage });
  }

  /** Opens a stream. With `end: false` the body goes on with `send` or `upload`. */
  request(options = {}, { link = 0, end = true, upgrade = false, autoCredit = true } = {}) {
    const to = this.links[link];
    const stream = to.next++;
    const exchange = new Exchange(to, stream, { autoCredit });
    to.exchanges.set(stream, exchange);
    const body = Buffer.from(options.body ?? '');
    exchange.sendCredit -= body.length;
    to.write(
      frame(T.REQUEST, stream, {
        flags: (end ? END : 0) | (upgrade ? UPGRADE : 0),
        payload: requestPayload({ ...options, body }),
      }),
    );
    return exchange;
  }

  /** One request to its end. */
  fetch(options, how) {
    return this.request(options, how).settled();
  }

  ping(text) {
    return new Promise((resolve) => {
      this.onPong = resolve;
      this.control.write(frame(T.PING, 0, { payload: Buffer.from(text) }));
    });
  }

  /** Stops serving as the real front does, and resolves with the worker's exit. */
  drain() {
    for (const link of this.links) link.socket.end();
    this.control.write(frame(T.DRAIN, 0));
    return this.exited;
  }

  async stop() {
    this.server.close();
    if (this.child !== undefined && this.child.exitCode === null && this.child.signalCode === null) {
      this.child.kill('SIGKILL');
      await this.exited;
    }
    fs.rmSync(this.folder, { recursive: true, force: true });
  }
}

/** A front with a started worker, stopped when the test `t` is over. Fails the test when the worker is not ready. */
async function serve(t, entry, settings) {
  const front = new FakeFront();
  t.after(() => front.stop());
  const outcome = await front.start(entry, settings);
  if (outcome.ready === undefined) {
    throw new Error(`the worker is not ready: ${JSON.stringify(outcome)}\n${front.output}`);
  }
  front.ready = outcome.ready;
  return front;
}

/** A front whose worker is expected not to become ready; resolves with `{ front, outcome }`. */
async function attempt(t, entry, settings) {
  const front = new FakeFront();
  t.after(() => front.stop());
  const outcome = await front.start(entry, settings);
  return { front, outcome };
}

module.exports = { END, FakeFront, T, WINDOW, attempt, frame, requestPayload, serve };
