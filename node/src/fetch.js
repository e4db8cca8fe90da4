'use strict';
// `export default { fetch(request, server) }`: web-standard handlers, served from links.

const { isUint8Array } = require('node:util/types');

const { Fields, FLAG, RESET, RequestHead } = require('./frames.js');
const { RequestContexts } = require('./context.js');
const { ContractError, describe } = require('./errors.js');
const { EMPTY, LinkStream } = require('./stream.js');
const { publish } = require('./topics.js');
const { Handlers, openSocket, readTakeOver } = require('./websocket.js');
const {
  LeanRequest, NO_FIELDS, asBytes, isLeanResponse, kContent, kPairs, kReal, kReason, kSource, kStatus, kUsed,
} = require('./web.js');

/** Strings up to this length are encoded straight into the output; three bytes is the most one UTF-16 unit takes. */
const INLINE_STRING_LENGTH_MAX = 21_845;
/** Bodies up to this length go into the RESPONSE frame itself. */
const INLINE_BODY_BYTES_MAX = 65_536;

const fields = new Fields();

/** One request and its response; for `LeanRequest`, the source of its body. */
class FetchExchange extends LinkStream {
  constructor(link, id, head, hasBody, websocket, service) {
    super(link, id, !hasBody);
    this.head = head;
    // The request asks for a WebSocket, and nothing has been answered yet.
    this.websocket = websocket;
    // The WebSocket is open already: what is known of it.
    this.takeOver = null;
    this.hasBody = hasBody;
    this.service = service;
    this.aborted = false;
    this.abortCallbacks = null;
    // What has arrived and nobody has taken yet. Bounded by the stream's credit.
    this.received = null;
    this.bodyController = null;
    this.collecting = null;
    this.reader = null;
    this.drained = null;
  }

  // The request's body. Credit is given back only for what the handler has asked for: a body that is never read stays
  // in the front.

  onBody(bytes) {
    if (this.bodyController !== null) {
      // A copy: a byte stream detaches what it is given, and the whole of Buffer's pool would go with it.
      this.bodyController.enqueue(new Uint8Array(bytes));
      if (this.bodyController.desiredSize > 0) this.grant();
      return;
    }
    (this.received ??= []).push(bytes);
    if (this.collecting !== null) this.grant();
  }

  onBodyEnd() {
    this.bodyController?.close();
    this.#collected();
  }

  collect() {
    return new Promise((resolve, reject) => {
      this.collecting = { resolve, reject };
      if (this.closed) this.#abortBody();
      this.grant();
      this.#collected();
    });
  }

  #collected() {
    if (this.collecting === null || !this.receivedEnd) return;
    const chunks = this.received ?? [];
    this.received = null;
    const bytes = chunks.length === 1 ? chunks[0] : Buffer.concat(chunks);
    this.collecting.resolve(new Uint8Array(bytes));
    this.collecting = null;
  }

  stream() {
    return new ReadableStream(
      {
        type: 'bytes',
        start: (controller) => {
          this.bodyController = controller;
          for (const bytes of this.received ?? []) controller.enqueue(new Uint8Array(bytes));
          this.received = null;
          if (this.receivedEnd) controller.close();
          else if (this.closed) this.#abortBody();
        },
        pull: () => this.grant(),
        cancel: () => {
          this.bodyController = null;
          this.ignoreBody = true;
          this.discardBody();
        },
      },
      { highWaterMark: 65_536 },
    );
  }

  onAbort(callback) {
    if (this.aborted) callback();
    else (this.abortCallbacks ??= []).push(callback);
  }

  // The response.

  /** What the handler returned. Anything but a response is the application's mistake. */
  respond(response) {
    this.websocket = false;
    if (this.closed) {
      cancelBody(response);
      return;
    }
    try {
      if (isLeanResponse(response)) this.#lean(response);
      else if (isResponse(response)) this.#streamed(response);
      else this.fail(new TypeError(`${this.#name()} returned ${describe(response)}, which is no Response`));
    } catch (error) {
      this.fail(error);
    }
  }

  #name() {
    return `fetch(${this.head.method} ${this.head.target})`;
  }

  #lean(response) {
    if (response[kStatus] === 0) throw new TypeError(`${this.#name()} returned Response.error()`);
    if (response[kUsed]) throw new TypeError(`${this.#name()} returned a Response whose body has been read`);
    if (response[kReal] !== null) {
      this.#streamed(response);
      return;
    }
    const content = response[kContent];
    const pairs = response[kPairs] ?? NO_FIELDS;
    response[kUsed] = content !== null;
    if (content === null || this.head.method === 'HEAD') {
      this.link.writer.finish(this.#begin(response[kStatus], response[kReason], pairs, 0), FLAG.END);
    } else if (typeof content === 'string' && content.length <= INLINE_STRING_LENGTH_MAX) {
      const { writer } = this.link;
      const start = this.#begin(response[kStatus], response[kReason], pairs, content.length * 3);
      writer.appendUtf8(content);
      writer.finish(start, FLAG.END);
    } else {
      const bytes = typeof content === 'string' ? Buffer.from(content) : content;
      if (bytes.length > INLINE_BODY_BYTES_MAX) {
        this.link.writer.finish(this.#begin(response[kStatus], response[kReason], pairs, 0), 0);
        this.send(bytes, true, null);
        this.#leaveBody();
        return;
      }
      const { writer } = this.link;
      const start = this.#begin(response[kStatus], response[kReason], pairs, bytes.length);
      writer.appendBytes(bytes);
      writer.finish(start, FLAG.END);
    }
    this.link.flushAtNextTick();
    this.endSent();
    if (!this.receivedEnd) this.#leaveBody();
  }

  /** Begins the RESPONSE frame. */
  #begin(status, reason, pairs, bodyMax) {
    fields.clear();
    for (let i = 0; i < pairs.length; i += 2) {
      if (pairs[i] !== 'transfer-encoding') fields.add(pairs[i], pairs[i + 1]);
    }
    return this.link.writer.beginResponse(this.id, status, reason, fields, bodyMax);
  }

  /** A response whose body is a stream: Node's own, or ours after somebody has looked at its body. */
  #streamed(response) {
    const { status, body } = response;
    if (!(status >= 200 && status <= 599)) throw new ContractError(`the response has status ${status}; 200 to 599 can be sent`);
    if (response.bodyUsed || body?.locked) throw new TypeError(`${this.#name()} returned a Response whose body has been read`);
    const pairs = [];
    for (const [name, value] of response.headers) pairs.push(name, value);
    const noBody = body === null || this.head.method === 'HEAD' || status === 204 || status === 304;
    this.link.writer.finish(this.#begin(status, response.statusText, pairs, 0), noBody ? FLAG.END : 0);
    this.link.scheduleFlush();
    if (!noBody) {
      this.#pump(body);
      return;
    }
    if (body !== null) body.cancel().catch(ignore);
    this.endSent();
    this.#leaveBody();
  }

  async #pump(body) {
    const reader = body.getReader();
    this.reader = reader;
    try {
      for (;;) {
        const { done, value } = await reader.read();
        if (this.closed) return;
        if (done) break;
        if (!isUint8Array(value) && !ArrayBuffer.isView(value)) {
          throw new TypeError(`${this.#name()}: the response's stream gave ${describe(value)}, which is no Uint8Array`);
        }
        const bytes = asBytes(value);
        if (bytes.length > 0 && !this.send(bytes, false, null)) await new Promise((resolve) => (this.drained = resolve));
        if (this.closed) return;
      }
      this.reader = null;
      this.send(EMPTY, true, null);
      this.#leaveBody();
    } catch (error) {
      this.reader = null;
      reader.cancel(error).catch(ignore);
      this.fail(error);
    }
  }

  #leaveBody() {
    // A handler that answers at once may still be reading; one that never began will not.
    if (this.bodyController === null && this.collecting === null) this.discardBody();
  }

  onDrained() {
    const { drained } = this;
    this.drained = null;
    drained?.();
  }

  // How it ends otherwise.

  /** The handler threw or rejected, or gave what is no response. */
  fail(error) {
    if (this.closed) return;
    this.reset(
      error instanceof ContractError ? RESET.PROTOCOL : RESET.INTERNAL,
      error instanceof ContractError ? error.message : describe(error),
    );
    this.#abort();
  }

  onAborted() {
    this.#abort();
  }

  #abort() {
    if (this.aborted) return;
    this.aborted = true;
    this.reader?.cancel(abortError()).catch(ignore);
    this.onDrained();
    if (!this.receivedEnd) this.#abortBody();
    const callbacks = this.abortCallbacks;
    this.abortCallbacks = null;
    if (callbacks !== null) for (const callback of callbacks) callback();
  }

  /** What has not come of the body will not: the client has gone, or the response went out before anybody had asked for it. */
  #abortBody() {
    if (this.receivedEnd) return;
    const error = this.aborted ? abortError() : new DOMException('The request was answered before its body was read.', 'AbortError');
    this.bodyController?.error(error);
    this.bodyController = null;
    this.collecting?.reject(error);
    this.collecting = null;
  }
}

function abortError() {
  return new DOMException('The client closed the connection before the request was complete.', 'AbortError');
}

function ignore() {}

/** A response of Node's own, or of another implementation that follows the standard. */
function isResponse(value) {
  return (
    value !== null &&
    typeof value === 'object' &&
    typeof value.status === 'number' &&
    value.headers !== undefined &&
    typeof value.headers[Symbol.iterator] === 'function' &&
    typeof value.text === 'function'
  );
}

/** Nobody will read what a late response holds. */
function cancelBody(response) {
  if (!isResponse(response)) return;
  const { body } = response;
  if (body !== null && !body.locked) body.cancel().catch(ignore);
}

/** What handlers get beside the request. */
class ServerInfo {
  /** The client's address, or null over a Unix socket. */
  requestIP(request) {
    const head = request?.[kSource]?.head;
    if (head === undefined || head.remoteAddress === '') return null;
    const address = head.remoteAddress;
    return { address, family: address.includes(':') ? 'IPv6' : 'IPv4', port: head.remotePort };
  }

  /**
   * Makes the request's connection a WebSocket, whose events go to the module's `websocket` handlers: `data` becomes
   * `ws.data`, `headers` go into the response. Returns false if the request does not ask for one; otherwise what
   * `fetch` returns is of no matter.
   */
  upgrade(request, options) {
    const exchange = request?.[kSource];
    if (exchange === undefined || exchange.closed || exchange.websocket !== true) return false;
    if (exchange.service.sockets === null) {
      throw new TypeError('server.upgrade(request) needs the handlers `export default { fetch, websocket: { message(ws, data) {…} } }`');
    }
    openSocket(exchange, options);
    exchange.websocket = false;
    exchange.closed = true;
    return true;
  }

  /** Publishes to every socket that has joined the topic; returns bytes, -1 if they wait, 0 if they were refused. */
  publish(topic, data) {
    return publish(topic, data);
  }
}

class FetchService {
  /** `application` has `fetch(request, server)`, and `websocket` if it takes WebSockets. */
  constructor(application) {
    this.application = application;
    this.sockets = application.websocket === undefined ? null : new Handlers(application.websocket);
    this.info = new ServerInfo();
    this.contexts = new RequestContexts();
    this.closing = false;
    this.server = undefined;
  }

  open(link, id, flags, buffer, start, end) {
    const head = new RequestHead(buffer, start, end);
    const receivedEnd = (flags & FLAG.END) !== 0;
    const takeOver = (flags & FLAG.TAKE_OVER) !== 0 ? readTakeOver(buffer, head.bodyStart, end) : null;
    const hasBody = takeOver === null && (!receivedEnd || head.bodyStart < end);
    const exchange = new FetchExchange(link, id, head, hasBody, (flags & FLAG.WEBSOCKET) !== 0, this);
    exchange.takeOver = takeOver;
    if (hasBody) {
      // Registered first: the handler may answer at once.
      link.streams.set(id, exchange);
      exchange.onData(buffer, head.bodyStart, end, receivedEnd);
    }
    const context = this.contexts.begin();
    if (context === null) this.dispatch(exchange);
    else context.runInAsyncScope(this.dispatch, this, exchange);
    return exchange.closed ? null : exchange;
  }

  dispatch(exchange) {
    try {
      const returned = this.application.fetch(new LeanRequest(exchange), this.info);
      if (returned !== null && typeof returned === 'object' && typeof returned.then === 'function') {
        returned.then(
          (response) => exchange.respond(response),
          (error) => exchange.fail(error),
        );
      } else {
        exchange.respond(returned);
      }
    } catch (error) {
      exchange.fail(error);
    }
  }
}

module.exports = { FetchService };
