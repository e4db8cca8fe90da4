'use strict';
// The Unix sockets between this worker and the front: the control link and the data links. It knows frames and streams
// by number; what a request means is the business of the service it hands them to.

const fs = require('node:fs');
const net = require('node:net');
const { performance } = require('node:perf_hooks');

const { FrameReader, FrameWriter, FLAG, TYPE, VERSION } = require('./frames.js');
const { StreamTable } = require('./stream-table.js');
const topics = require('./topics.js');
const { ProtocolError, summarize } = require('./errors.js');

// An application may replace the globals; the turn's end must stay the turn's end.
const { setImmediate } = globalThis;

/**
 * What one read of a link's socket takes at most: about a dozen small requests. Their answers leave when the read has been
 * worked through, so the front has something to do while the next dozen are at it; with all that has arrived in one read,
 * front and worker would wait for each other in turn.
 */
const READ_BYTES = 4096;
/** The same while bodies arrive. */
const BODY_READ_BYTES = 131_072;
/** Responses wait for the end of the turn, so that one write carries all, but no longer than this. */
const FLUSH_AFTER_MS = 1;

function hello(token, link) {
  return { token, link, pid: process.pid, language: 'node', version: process.versions.node };
}

function rethrow(error) {
  throw error;
}

/** One socket, its reader and its writer. */
class Link {
  constructor(path, token, name, onClose) {
    this.name = name;
    this.closed = false;
    this.onClose = onClose;
    this.turnStart = 0;
    this.flushScheduled = false;
    this.tickScheduled = false;
    this.afterFlush = [];
    this.inFlight = [];
    this.flushAtTurnEnd = () => {
      this.flushScheduled = false;
      this.flush();
    };
    this.flushAtTick = () => {
      this.tickScheduled = false;
      this.flush();
      this.#runAfterFlush();
    };
    this.written = () => this.writer.giveBack(this.inFlight.shift());
    this.writer = new FrameWriter(() => this.flush());
    this.reader = new FrameReader(this.#guarded.bind(this));
    const small = Buffer.allocUnsafeSlow(READ_BYTES);
    let large = null;
    // A frame longer than a small read is a body's, and more of it comes.
    const buffer = () => (this.reader.partialWanted <= READ_BYTES ? small : (large ??= Buffer.allocUnsafeSlow(BODY_READ_BYTES)));
    this.socket = net.connect({ path, onread: { buffer, callback: (length, read) => this.#onRead(read, length) } });
    this.socket.on('error', (error) => {
      this.failure = error;
    });
    this.socket.on('close', () => this.#onClosed());
    this.#sayHello(token);
  }

  /** Resolves when the front has accepted the connection. */
  connected() {
    return new Promise((resolve, reject) => {
      this.socket.once('connect', resolve);
      this.socket.once('close', () => {
        reject(new Error(`cannot connect link ${this.name} to the front: ${this.failure?.message ?? 'closed'}`));
      });
    });
  }

  /** Has the frames written so far sent at the end of this turn of the event loop. For what others may soon join. */
  scheduleFlush() {
    if (this.flushScheduled) return;
    this.flushScheduled = true;
    setImmediate(this.flushAtTurnEnd);
  }

  /**
   * For whole answers: sends them when the application's code that is running now has come to its end, which in a
   * batch of requests is when all have been handed to it. A tick queued after this call finds them sent.
   */
  flushAtNextTick() {
    if (!this.tickScheduled) {
      this.tickScheduled = true;
      process.nextTick(this.flushAtTick);
    } else if (performance.now() - this.turnStart > FLUSH_AFTER_MS) {
      // A turn full of slow handlers: the answers that are ready must not wait for those that are not.
      this.flush();
    }
  }

  /** The same, and calls `task.afterFlush()` then, in whatever asynchronous context comes first. */
  scheduleAfterFlush(task) {
    this.afterFlush.push(task);
    this.flushAtNextTick();
  }

  flush() {
    if (this.writer.length === 0) return;
    if (this.closed) {
      this.writer.length = 0;
      return;
    }
    this.turnStart = performance.now();
    const bytes = this.writer.take();
    this.inFlight.push(bytes);
    this.socket.write(bytes, this.written);
  }

  #sayHello(token) {
    this.writer.json(TYPE.HELLO, 0, VERSION, hello(token, this.name));
    this.sendSync();
  }

  /**
   * Writes the frames past the stream, straight to the descriptor. Before the first turn of the event loop the stream
   * still waits for 'connect', though the kernel has long connected; and a program that throws while it is loaded has
   * no later turn.
   */
  sendSync() {
    const descriptor = this.socket._handle?.fd;
    if (this.socket.connecting && descriptor >= 0) {
      const bytes = this.writer.take();
      try {
        const sent = fs.writeSync(descriptor, bytes);
        if (sent === bytes.length) return;
        this.socket.write(Buffer.from(bytes.subarray(sent)));
      } catch {
        this.socket.write(Buffer.from(bytes));
      }
    } else {
      this.flush();
    }
  }

  #runAfterFlush() {
    const tasks = this.afterFlush;
    this.afterFlush = [];
    for (let i = 0; i < tasks.length; i++) tasks[i].afterFlush();
  }

  #onRead(buffer, length) {
    this.turnStart = performance.now();
    try {
      this.reader.read(buffer, length);
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      this.fail(error);
      return false;
    }
    return true;
  }

  /**
   * An application's listener may throw out of a frame's handling. Where the process lives on after that, because it
   * listens for 'uncaughtException', the frames behind it must not be lost.
   */
  #guarded(type, flags, stream, aux, buffer, start, end) {
    try {
      this.onFrame(type, flags, stream, aux, buffer, start, end);
    } catch (error) {
      if (error instanceof ProtocolError) throw error;
      process.nextTick(rethrow, error);
    }
  }

  /** The front broke the protocol. */
  fail(error) {
    process.stderr.write(`bireme: link ${this.name} closed: the front sent ${summarize(error)}\n`);
    this.socket.destroy();
  }

  #onClosed() {
    if (this.closed) return;
    this.closed = true;
    this.writer.length = 0;
    this.onClose(this);
    this.#runAfterFlush();
  }
}

/** Life and death of the worker. Handlers: `onDrain()`, `onClose()`. */
class ControlLink extends Link {
  constructor(path, token, handlers) {
    super(path, token, 'control', handlers.onClose);
    this.onDrain = handlers.onDrain;
    // Until it serves, a program lives as long as it would without us: an empty event loop must end it, or be noticed.
    this.socket.unref();
  }

  onFrame(type, _flags, _stream, _aux, buffer, start, end) {
    switch (type) {
      case TYPE.PING:
        if (end - start > 64) throw new ProtocolError('a PING longer than 64 bytes');
        this.writer.bytes(TYPE.PONG, 0, 0, 0, buffer.subarray(start, end));
        this.flush();
        break;
      case TYPE.DRAIN:
        this.onDrain();
        break;
      default:
        throw new ProtocolError(`frame type ${type} on the control link`);
    }
  }

  ready(kind, notes) {
    this.writer.json(TYPE.READY, 0, 0, { kind, notes });
    this.sendSync();
  }

  failed(error, stack, hint) {
    this.writer.json(TYPE.FAILED, 0, 0, { error, stack: stack.slice(0, 65_536), hint });
    this.sendSync();
  }
}

/**
 * Requests. `service.open(link, stream, flags, buffer, start, end)` answers a REQUEST at once and returns null, or
 * returns the stream's object with `onData`, `onTrailers`, `onReset`, `onCredit` and `onLinkClosed`.
 */
class DataLink extends Link {
  constructor(path, token, number, service, onClose) {
    super(path, token, number, onClose);
    this.service = service;
    this.streams = new StreamTable();
    this.lastStream = 0;
  }

  onFrame(type, flags, stream, aux, buffer, start, end) {
    if (type === TYPE.REQUEST) {
      if (stream <= this.lastStream) throw new ProtocolError(`stream ${stream} after stream ${this.lastStream}`);
      this.lastStream = stream;
      const opened = this.service.open(this, stream, flags, buffer, start, end);
      if (opened !== null) this.streams.set(stream, opened);
      return;
    }
    if (stream === 0) {
      topics.onFrame(this, type, flags, buffer, start, end);
      return;
    }
    const target = this.streams.get(stream);
    if (target === undefined) {
      if (stream > this.lastStream) throw new ProtocolError(`frame type ${type} for stream ${stream}, never opened`);
      const known = (type >= TYPE.DATA && type <= TYPE.CREDIT) || type === TYPE.WSMESSAGE || type === TYPE.WSCLOSE;
      if (!known) throw new ProtocolError(`frame type ${type} on a data link`);
      // The stream is closed; the frame crossed on the way.
      return;
    }
    switch (type) {
      case TYPE.DATA:
        target.onData(buffer, start, end, (flags & FLAG.END) !== 0);
        break;
      case TYPE.TRAILERS:
        target.onTrailers(buffer, start, end);
        break;
      case TYPE.RESET:
        target.onReset(aux);
        break;
      case TYPE.CREDIT:
        if (end - start !== 4) throw new ProtocolError('a CREDIT that is not 4 bytes');
        target.onCredit(buffer.readUInt32LE(start));
        break;
      case TYPE.WSMESSAGE:
        if (target.onMessage === undefined) throw new ProtocolError(`WS_MESSAGE on stream ${stream}, which is no WebSocket`);
        target.onMessage(buffer, start, end, flags);
        break;
      case TYPE.WSCLOSE:
        if (target.onClose === undefined) throw new ProtocolError(`WS_CLOSE on stream ${stream}, which is no WebSocket`);
        target.onClose(aux, buffer.utf8Slice(start, end));
        break;
      default:
        throw new ProtocolError(`frame type ${type} on a data link`);
    }
  }

  /** Sends RESET; `text` is for the log. */
  reset(stream, code, text) {
    this.streams.delete(stream);
    if (this.closed) return;
    this.writer.reset(stream, code, text);
    this.scheduleFlush();
  }

  /** Ends every stream, for the front is gone. */
  endStreams() {
    const streams = this.streams.values();
    this.streams.clear();
    for (const stream of streams) {
      try {
        stream.onLinkClosed();
      } catch (error) {
        process.nextTick(rethrow, error);
      }
    }
  }
}

module.exports = { ControlLink, DataLink };
