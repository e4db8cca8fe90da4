'use strict';
// A broker for tests: starts workers that take calls, as the real one does, and tells callers of them. Every service runs
// JavaScript, whatever language a caller asks for, so that both ends of a call are this runtime's.

const { spawn } = require('node:child_process');
const { randomBytes } = require('node:crypto');
const fs = require('node:fs');
const net = require('node:net');
const os = require('node:os');
const path = require('node:path');

const { frame } = require('./fake-front.js');

const SRC = path.join(__dirname, '..', 'src');
const T = { HELLO: 1, READY: 2, FAILED: 3, DRAIN: 4, PING: 5, RESOLVE: 0x30, RESOLVED: 0x31, PEERS: 0x32 };

const json = (type, message) => frame(type, 0, { payload: Buffer.from(JSON.stringify(message)) });

class FakeBroker {
  constructor() {
    this.folder = fs.mkdtempSync(path.join(os.tmpdir(), 'bireme-calls-'));
    this.path = path.join(this.folder, 'link.sock');
    this.token = randomBytes(16).toString('hex');
    this.options = { timeout_ms: 30_000, in_flight_max: 1024, message_bytes_max: 67_108_864 };
    this.workers = new Map();
    this.callers = new Set();
    this.questions = [];
    this.next = 1;
    this.output = '';
    this.server = net.createServer((socket) => this.#accept(socket));
  }

  async start() {
    await new Promise((resolve) => this.server.listen(this.path, resolve));
    this.server.unref();
    return this;
  }

  get environment() {
    return { BIREME_BROKER: this.path, BIREME_BROKER_TOKEN: this.token };
  }

  /** A file for workers to load. */
  write(name, source) {
    const file = path.join(this.folder, name);
    fs.mkdirSync(path.dirname(file), { recursive: true });
    fs.writeFileSync(file, source);
    return file;
  }

  /** Starts a worker of a service; resolves when callers have been told of it. */
  async worker(service = 'calls', { env = {}, node = process.execPath, args = [] } = {}) {
    const number = this.next++;
    const name = `${service}#${number}`;
    const calls = path.join(this.folder, `calls-${number}.sock`);
    const child = spawn(node, [...args, '--require', path.join(SRC, 'boot.cjs'), path.join(SRC, 'calls-main.cjs')], {
      cwd: this.folder,
      env: {
        ...process.env, ...this.environment, NODE_OPTIONS: '', BIREME_LINK: this.path, BIREME_LINKS: '0', BIREME_TOKEN: name,
        BIREME_OPTIONS: '{}', BIREME_CALLS: calls, BIREME_SERVICE: service, BIREME_WORKER: name,
        BIREME_SELF: JSON.stringify({ service, root: this.folder }), ...env,
      },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (data) => (this.output += data));
    const worker = { name, service, path: calls, child, control: null };
    worker.ready = new Promise((resolve, reject) => Object.assign(worker, { isReady: resolve, hasFailed: reject }));
    worker.exited = new Promise((resolve) => {
      child.once('exit', (code, signal) => {
        worker.hasFailed(new Error(`${name} ended with ${signal ?? code}: ${this.output}`));
        this.remove(worker);
        resolve({ code, signal });
      });
    });
    this.workers.set(name, worker);
    await worker.ready;
    worker.here = true;
    this.tell(service);
    return worker;
  }

  /** Callers hear no more of a worker. */
  remove(worker) {
    if (!this.workers.delete(worker.name)) return;
    this.tell(worker.service);
  }

  /** As the supervisor stops a worker: it leaves, then it is told to. */
  async drain(worker) {
    this.remove(worker);
    worker.control.write(frame(T.DRAIN, 0));
    return worker.exited;
  }

  peers(service) {
    const ready = [...this.workers.values()].filter((worker) => worker.service === service && worker.here);
    return ready.map((worker) => ({ worker: worker.name, path: worker.path }));
  }

  tell(service) {
    for (const caller of this.callers) {
      if (caller.watches.has(service)) caller.socket.write(json(T.PEERS, { service, workers: this.peers(service) }));
      const waiting = caller.waiting.filter((question) => this.#service(question) === service);
      if (this.peers(service).length === 0) continue;
      caller.waiting = caller.waiting.filter((question) => !waiting.includes(question));
      for (const question of waiting) this.#answer(caller, question);
    }
  }

  /** Which service a question is for: what it says, or one named like the file's folder, or `calls`. */
  #service({ service, file }) {
    if (service !== undefined) return service;
    const folder = file === undefined ? '' : path.dirname(path.relative(this.folder, file));
    return [...this.workers.values()].some((worker) => worker.service === folder) ? folder : 'calls';
  }

  #answer(caller, question) {
    const service = this.#service(question);
    const workers = this.peers(service);
    if (workers.length === 0) {
      caller.waiting.push(question);
      return;
    }
    caller.watches.add(service);
    caller.socket.write(json(T.RESOLVED, { id: question.id, service, workers, options: this.options }));
  }

  #accept(socket) {
    let buffered = Buffer.alloc(0);
    let kind;
    let worker;
    const caller = { socket, watches: new Set(), waiting: [] };
    socket.unref();
    socket.on('error', () => {});
    socket.on('close', () => this.callers.delete(caller));
    socket.on('data', (bytes) => {
      buffered = Buffer.concat([buffered, bytes]);
      while (buffered.length >= 12 && buffered.length >= 12 + buffered.readUInt32LE(0)) {
        const end = 12 + buffered.readUInt32LE(0);
        const type = buffered[8];
        const message = JSON.parse(buffered.subarray(12, end).toString() || 'null');
        buffered = buffered.subarray(end);
        if (type === T.HELLO) {
          kind = message.link;
          worker = this.workers.get(message.token);
          if (kind === 'broker') this.callers.add(caller);
          else worker.control = socket;
        } else if (type === T.READY) worker.isReady(message);
        else if (type === T.FAILED) worker.hasFailed(new Error(message.error));
        else if (type === T.RESOLVE) {
          this.questions.push(message);
          const refusal = this.refuse?.(message);
          if (refusal !== undefined) socket.write(json(T.RESOLVED, { id: message.id, error: refusal }));
          else this.#answer(caller, message);
        }
      }
    });
  }

  async stop() {
    this.server.close();
    for (const { socket } of this.callers) socket.destroy();
    const workers = [...this.workers.values()];
    for (const { child } of workers) child.kill('SIGKILL');
    await Promise.all(workers.map((worker) => worker.exited));
    fs.rmSync(this.folder, { recursive: true, force: true });
  }
}

module.exports = { FakeBroker, SRC };
