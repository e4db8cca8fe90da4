'use strict';
// A worker's life: connect, let the program load, find out what it serves, say READY, serve, drain. How requests are
// served is in http.js and fetch.js.

const cluster = require('node:cluster');
const http = require('node:http');
const { pathToFileURL } = require('node:url');

const environment = require('./calls/environment.js');
const { CallServer } = require('./calls/server.js');
const { watchContexts } = require('./context.js');
const { ControlLink, DataLink } = require('./link.js');
const { describe, summarize } = require('./errors.js');
const { HandlerService, HttpService } = require('./http.js');
const { patchPrototypes } = require('./http-hooks.js');
const { takeOverListen } = require('./listen.js');
const topics = require('./topics.js');

const { setImmediate } = globalThis;

/**
 * An exported application that can also listen by itself (Express) may be about to: after it has connected to its
 * database, say. If it has not called `listen` by then, or as soon as nothing else is left to happen, what it exports
 * is served.
 */
const LISTEN_GRACE_MS = 1_000;

const HINT =
  'a Node service calls http.createServer(…).listen(…), or exports default { fetch(request) }, or exports default (req, res)';

/** What the environment says; see protocol/README.md. Throws an `Error` with a line for the log. */
function readEnvironment(env) {
  const { BIREME_LINK: path, BIREME_TOKEN: token = '', BIREME_FAULTS: faults = '' } = env;
  const links = Number(env.BIREME_LINKS);
  if (!Number.isInteger(links) || links < 0 || links > 1024) {
    throw new Error(`bireme: BIREME_LINKS is "${env.BIREME_LINKS}"; it must be a number from 0 to 1024`);
  }
  let options = {};
  try {
    options = JSON.parse(env.BIREME_OPTIONS || '{}');
  } catch (error) {
    throw new Error(`bireme: BIREME_OPTIONS is not JSON: ${error.message}`);
  }
  return { path, token, links, options, faults };
}

class Worker {
  constructor({ path, token, links, options, faults }) {
    this.path = path;
    this.token = token;
    this.links = links;
    this.options = options;
    this.faults = faults;
    this.state = 'loading';
    this.notes = [];
    /** Open streams ask this for their service; replaced when a program listens after all. */
    this.service = null;
    this.dataLinks = [];
    this.held = true;
    this.graceTimer = null;
    this.calls = null;
    this.control = new ControlLink(path, token, { onDrain: () => this.drain(), onClose: () => process.exit() });
  }

  /** Loads nothing itself: Node is about to run the program. */
  start() {
    patchPrototypes();
    watchContexts();
    takeOverListen((server, port) => this.claim(server, port));
    this.onException = (error, origin) => this.failed(summarize(error), describe(error), originHint(origin));
    this.onBeforeExit = () => this.loopEmpty();
    this.onExit = (code) => this.exiting(code);
    cluster.once('fork', () => this.startsWorkers());
    process.on('uncaughtExceptionMonitor', this.onException);
    process.on('beforeExit', this.onBeforeExit);
    process.on('exit', this.onExit);
    setImmediate(() => this.inspectProgram());
  }

  // What the program serves.

  /** A server of the program is about to listen. Returns what holds it open, or null to let it bind. */
  claim(server, port) {
    if (this.state !== 'loading' && !(this.service instanceof HandlerService && this.fromExport)) return null;
    const wanted = this.options.port;
    if (wanted !== undefined && wanted !== null && wanted !== port) return null;
    if (this.service instanceof HttpService && !this.fromExport) return null;
    clearTimeout(this.graceTimer);
    const service = new HttpService(server);
    this.notes.push(port > 0 ? `listen(${port}) is served by bireme` : 'listen() is served by bireme');
    if (!(server instanceof http.Server)) this.notes.push('https: bireme does TLS; the program sees plain requests');
    this.fromExport = false;
    this.serve('http', service);
    return {
      ref: () => this.hold(true),
      unref: () => this.hold(false),
      released: () => this.released(service),
    };
  }

  /** The program's own load, joined once it has run: what does it export? */
  async inspectProgram() {
    if (this.state !== 'loading' || this.service !== null) return;
    let exported;
    try {
      exported = await programExports();
    } catch {
      // The program's own load fails with the same error; Node reports it, and `onException` hears it.
      return;
    }
    if (this.state !== 'loading' || this.service !== null) return;
    this.exported = exported;
    const found = recognize(exported);
    if (found === null) return;
    if (found.mayListen) {
      this.fallback = found;
      this.graceTimer = setTimeout(() => this.serveFallback(), LISTEN_GRACE_MS).unref();
      return;
    }
    this.serveExport(found);
  }

  serveFallback() {
    if (this.service === null && this.state === 'loading') this.serveExport(this.fallback);
  }

  serveExport(found) {
    this.fromExport = true;
    this.serve(found.kind, found.service());
  }

  serve(kind, service) {
    const first = this.service === null;
    if (this.faults !== '') makeFaults(service, this.faults);
    this.service = service;
    for (const link of this.dataLinks) link.service = service;
    if (first) this.openLinks(kind);
  }

  async openLinks(kind) {
    try {
      for (let number = 0; number < this.links; number++) {
        const link = new DataLink(this.path, this.token, number, this.service, (closed) => closed.endStreams());
        if (!this.held) link.socket.unref();
        this.dataLinks.push(link);
      }
      topics.useLinks(this.dataLinks);
      this.calls = callServer();
      await Promise.all([...this.dataLinks.map((link) => link.connected()), this.calls?.listen()]);
    } catch (error) {
      this.failed(summarize(error), describe(error), 'the front has gone, or its folder for sockets has');
      process.exit(1);
    }
    if (this.state !== 'loading') return;
    this.state = 'ready';
    process.off('uncaughtExceptionMonitor', this.onException);
    process.off('beforeExit', this.onBeforeExit);
    if (this.held) this.control.socket.ref();
    this.control.ready(kind, this.notes);
  }

  /** A program that forks its own servers would wait for ever for a listen that happens elsewhere. */
  startsWorkers() {
    if (this.state !== 'loading' || this.service !== null) return;
    this.failed(
      'the program starts servers of its own with node:cluster',
      '',
      'start it without cluster; bireme runs as many workers as the service\'s "workers" says',
    );
    process.exit(1);
  }

  // How it ends.

  failed(error, stack, hint) {
    if (this.state !== 'loading') return;
    this.state = 'failed';
    this.control.failed(error, stack, hint);
  }

  /** The event loop has nothing left to do, and the program serves nothing. */
  loopEmpty() {
    if (this.state !== 'loading' || this.service !== null) return;
    if (this.fallback !== undefined) {
      this.serveFallback();
      return;
    }
    const what = this.exported === undefined ? 'it exports nothing' : `it exports ${looksLike(this.exported)}`;
    this.failed(`the program ended without serving anything; ${what}`, '', HINT);
    process.exitCode = 1;
  }

  exiting(code) {
    if (this.state === 'loading') {
      const why =
        code === 13 ? 'its top-level await never settled' : `it called process.exit(), or was told to, with code ${code}`;
      this.failed(`the program ended before it served anything: ${why}`, '', HINT);
    }
    for (const link of this.dataLinks) link.flush();
  }

  hold(held) {
    this.held = held;
    const sockets = this.dataLinks.map((link) => link.socket);
    if (this.state === 'ready') sockets.push(this.control.socket);
    for (const socket of sockets) {
      if (held) socket.ref();
      else socket.unref();
    }
  }

  /** The program has closed its server: no new requests; and when the last is over, no links. */
  released(service) {
    service.closing = true;
    service.server.once('close', () => {
      for (const { socket } of this.dataLinks) socket.end();
      this.control.socket.unref();
    });
  }

  /**
   * DRAIN: the front has closed the data links. A program that listens for SIGTERM knows how it wants to stop, and
   * gets what a process manager would send. For any other, its server is closed and the process ends.
   */
  async drain() {
    if (this.state === 'draining') return;
    this.state = 'draining';
    // Callers have heard that this worker leaves, and close their links when they are done.
    if (this.calls !== null) await this.calls.drained();
    if (process.listenerCount('SIGTERM') > 0) {
      process.emit('SIGTERM', 'SIGTERM', 15);
      return;
    }
    const server = this.service?.server;
    if (server?.listening) server.close(() => process.exit(0));
    else process.exit(0);
  }
}

/** For `bireme compare`: requests that know the word get errors. */
function makeFaults(service, word) {
  const { injectIntoFetch, injectIntoHttp } = require('./faults.js');
  process.stderr.write('bireme: BIREME_FAULTS is set, as by bireme compare: requests that hold its word get errors\n');
  if (!(service instanceof HttpService)) injectIntoFetch(service, word);
  else injectIntoHttp(service, word);
}

function originHint(origin) {
  return origin === 'unhandledRejection' ? 'a promise was rejected while the program started and nobody handled it' : '';
}

/** The exports of the program that `node` was started with, loaded once: CommonJS's own, or the joined import. */
async function programExports() {
  const main = process.mainModule;
  if (main !== undefined && main !== null) return main.exports;
  const url = pathToFileURL(require.resolve(process.argv[1]));
  return (await import(url.href)).default;
}

/** What an export can be served as, or null. */
function recognize(exported) {
  let value = exported;
  // A transpiled ES module.
  if (value?.__esModule && value.default !== undefined) value = value.default;
  if (value === null || value === undefined) return null;
  if (typeof value.fetch === 'function') {
    return {
      kind: 'fetch',
      mayListen: false,
      service: () => {
        // The globals of a program that serves node:http stay Node's own.
        require('./web.js').install();
        const { FetchService } = require('./fetch.js');
        return new FetchService(value);
      },
    };
  }
  if (typeof value === 'function') {
    return { kind: 'handler', mayListen: typeof value.listen === 'function', service: () => new HandlerService(value) };
  }
  return null;
}

function looksLike(value) {
  if (value === null) return 'null';
  if (typeof value !== 'object') return `a ${typeof value}`;
  const keys = Object.keys(value).slice(0, 5).join(', ');
  return keys === '' ? 'an empty object' : `an object with ${keys}`;
}

/** Where this worker takes calls, or null if it is to take none. */
function callServer() {
  const path = environment.callsPath();
  return path === undefined ? null : new CallServer(path, process.env.BIREME_BROKER_TOKEN ?? '');
}

/** What boot.cjs has read for the worker that takes calls alone. */
let callsSettings = null;

/** Takes the settings out of the environment, so that no child mistakes itself for a worker, and begins. */
function start() {
  const settings = readEnvironment(process.env);
  for (const name of ['BIREME_LINK', 'BIREME_LINKS', 'BIREME_TOKEN', 'BIREME_OPTIONS', 'BIREME_FAULTS']) delete process.env[name];
  environment.take(process.env);
  if (settings.links === 0) {
    callsSettings = settings;
  } else {
    topics.expect();
    new Worker(settings).start();
  }
}

/** The worker without an application: it is ready when it can be called. */
async function startCalls() {
  const { path, token } = callsSettings;
  const calls = callServer();
  const control = new ControlLink(path, token, {
    onDrain: () => calls.drained().then(() => process.exit(0)),
    onClose: () => process.exit(),
  });
  // Nobody awaits it, so nobody is the worse for it: the functions of other callers go on.
  process.on('unhandledRejection', (error) => {
    process.stderr.write(`bireme: a promise was rejected and nobody handled it: ${describe(error)}\n`);
  });
  try {
    if (calls === null) throw new Error('BIREME_CALLS names no socket');
    await calls.listen();
  } catch (error) {
    control.failed(`cannot listen for calls: ${summarize(error)}`, describe(error), '');
    process.exitCode = 1;
    return;
  }
  control.socket.ref();
  control.ready('calls', []);
}

module.exports = { start, startCalls };
