'use strict';
// The link to the broker, which knows the workers of every service; see "Finding a worker" in protocol/calls.md. A process
// that no bireme started has a broker of its own, which lives as long as it does.

const { spawn } = require('node:child_process');
const fs = require('node:fs');
const net = require('node:net');
const path = require('node:path');

const { FrameReader, FrameWriter, TYPE, VERSION } = require('../frames.js');
const { ProtocolError, summarize } = require('../errors.js');
const { callError } = require('./errors.js');

/** Longest line that a broker of ours says about itself. */
const LINE_BYTES_MAX = 65_536;

/** Where the broker is: `{ path, token }`. */
async function findBroker(env) {
  if (env.BIREME_BROKER) return { path: env.BIREME_BROKER, token: env.BIREME_BROKER_TOKEN ?? '' };
  const found = await startBroker(findBireme(env));
  // For child processes, too.
  env.BIREME_BROKER = found.path;
  env.BIREME_BROKER_TOKEN = found.token;
  return found;
}

/** The executable: what `BIREME_BIN` says, what this runtime came with, or what is on the path. */
function findBireme(env) {
  if (env.BIREME_BIN) return env.BIREME_BIN;
  // runtime/node/src/calls, and the binary beside `runtime`; or lib/bireme/node/src/calls, and bin/bireme.
  const runtime = path.resolve(__dirname, '../../..');
  const places = [path.join(runtime, '../bireme'), path.join(runtime, '../../bin/bireme')];
  for (const folder of (env.PATH ?? '').split(path.delimiter)) if (folder !== '') places.push(path.join(folder, 'bireme'));
  const executable = (file) => {
    try {
      fs.accessSync(file, fs.constants.X_OK);
      return fs.statSync(file).isFile();
    } catch {
      return false;
    }
  };
  const found = places.find(executable);
  if (found !== undefined) return found;
  throw callError(
    'BIREME_NO_BROKER',
    'no bireme to start workers with: run this program with `bireme run`, put bireme on the PATH, or set BIREME_BIN to it',
  );
}

function startBroker(bireme) {
  return new Promise((resolve, reject) => {
    const child = spawn(bireme, ['broker', '--stdio'], { stdio: ['pipe', 'pipe', 'inherit'] });
    const failed = (why) => reject(callError('BIREME_NO_BROKER', `${bireme} broker did not start: ${why}`));
    let line = '';
    child.once('error', (error) => failed(error.message));
    child.once('exit', (code, signal) => failed(`it ended with ${signal ?? `status ${code}`}`));
    child.stdout.on('data', (data) => {
      line += data;
      const end = line.indexOf('\n');
      if (end < 0 && line.length <= LINE_BYTES_MAX) return;
      try {
        const { broker, token } = JSON.parse(line.slice(0, end));
        if (typeof broker !== 'string' || typeof token !== 'string') throw new Error('it names no socket');
        resolve({ path: broker, token });
      } catch (error) {
        failed(`it said something else than where it listens: ${error.message}`);
      }
      // It ends when this process does, for then its standard input closes; it does not keep this process alive.
      child.stdout.removeAllListeners('data');
      child.stdout.resume();
      for (const held of [child, child.stdin, child.stdout]) held.unref();
    });
  });
}

class BrokerLink {
  /** `onPeers(service, workers)` and `onClose()` are called while the link lives, and at its end. */
  constructor({ path: socketPath, token }, from, { onPeers, onClose }) {
    this.onPeers = onPeers;
    this.onClose = onClose;
    this.questions = new Map();
    this.nextId = 1;
    this.holders = 0;
    this.closed = false;
    this.writer = new FrameWriter(() => this.#flush());
    const reader = new FrameReader((...frame) => this.#onFrame(...frame));
    this.socket = net.connect(socketPath);
    this.socket.unref();
    this.socket.on('data', (bytes) => {
      try {
        reader.read(bytes, bytes.length);
      } catch (error) {
        this.failure = error;
        this.socket.destroy();
      }
    });
    this.socket.on('error', (error) => {
      this.failure = error;
    });
    this.socket.on('close', () => this.#onClosed());
    this.writer.json(TYPE.HELLO, 0, VERSION, { token, link: 'broker', from, pid: process.pid });
    this.#flush();
  }

  /** Resolves with RESOLVED's `{ service, workers, options }`. */
  resolve(question) {
    return new Promise((resolve, reject) => {
      if (this.closed) {
        reject(this.#gone());
        return;
      }
      const id = this.nextId++;
      this.questions.set(id, { resolve, reject });
      this.hold();
      this.writer.json(TYPE.RESOLVE, 0, 0, { id, ...question });
      this.#flush();
    });
  }

  /** Keeps the process alive while news is awaited. */
  hold() {
    if (this.holders++ === 0) this.socket.ref();
  }

  letGo() {
    if (--this.holders === 0) this.socket.unref();
  }

  #flush() {
    this.socket.write(Buffer.from(this.writer.take()));
  }

  #onFrame(type, _flags, _stream, _aux, buffer, start, end) {
    let message;
    try {
      message = JSON.parse(buffer.utf8Slice(start, end));
    } catch (error) {
      throw new ProtocolError(`a frame of the broker that is not JSON: ${error.message}`);
    }
    if (type === TYPE.PEERS) this.onPeers(message.service, message.workers);
    else if (type === TYPE.RESOLVED) this.#onResolved(message);
    else throw new ProtocolError(`frame type ${type} on a broker link`);
  }

  #onResolved(message) {
    const question = this.questions.get(message.id);
    if (question === undefined) throw new ProtocolError('an answer to no question');
    this.questions.delete(message.id);
    this.letGo();
    const { error } = message;
    if (error === undefined) question.resolve(message);
    else question.reject(callError(error.code, error.hint ? `${error.message}; ${error.hint}` : error.message));
  }

  #gone() {
    return callError('BIREME_NO_BROKER', `the broker is not there: ${this.failure === undefined ? 'its link has closed' : summarize(this.failure)}`);
  }

  #onClosed() {
    if (this.closed) return;
    this.closed = true;
    for (const { reject } of this.questions.values()) reject(this.#gone());
    this.questions.clear();
    this.onClose();
  }
}

module.exports = { BrokerLink, findBroker };
