'use strict';
// `Request` and `Response` for fetch handlers. Node's own come from undici; building one of each takes longer than a
// small handler runs, and loading undici takes 20 ms. Ours keep what they are given until somebody looks, and make the
// real object for what is rare. They know nothing of links: a request's body comes from a `source`.
//
// `install` replaces the globals, so that `new Response('…')` in an application makes ours, `instanceof` is true for
// ours and for Node's, and Node's `Request` and `fetch` accept ours. What has kept Node's classes from before, when it
// was loaded, goes on with them: it is served all the same, only not as fast.

const { isArrayBuffer, isUint8Array } = require('node:util/types');

const { LeanHeaders, fillPairs } = require('./headers.js');

// Node's own. Node 20 has accessors, and undici is loaded by the first who calls one; later versions load it when
// somebody as much as looks.
const own = {};
function node(name) {
  const { get, value } = own[name];
  if (get === undefined) return value;
  // Node 20's accessor writes what it has loaded into the global, in place of ours.
  const ours = Object.getOwnPropertyDescriptor(globalThis, name);
  const theirs = get.call(globalThis);
  Object.defineProperty(globalThis, name, ours);
  return theirs;
}

const NO_FIELDS = Object.freeze([]);
const decoder = new TextDecoder();
const REASON = /^[\t\x20-\x7e\x80-\xff]*$/;

function unusable() {
  return new TypeError('Body is unusable: Body has already been read');
}

function asBytes(chunk) {
  if (isUint8Array(chunk)) return chunk;
  if (isArrayBuffer(chunk)) return new Uint8Array(chunk);
  return new Uint8Array(chunk.buffer, chunk.byteOffset, chunk.byteLength);
}

// What the objects hold, under keys that no application's own property or subclass can meet.
const kStatus = Symbol('status');
const kReason = Symbol('reason');
const kPairs = Symbol('pairs');
const kHeaders = Symbol('headers');
const kReal = Symbol('real');
const kUsed = Symbol('used');
const kContent = Symbol('content');
const kType = Symbol('type');
const kSource = Symbol('source');
const kUrl = Symbol('url');
const kStream = Symbol('stream');
const kController = Symbol('controller');

// Response.

/**
 * A response is lean until something is asked of it that only a real one can answer (`body`, `clone`, `formData` …);
 * then `kReal` holds Node's own, which has the body from then on.
 */
class LeanResponse {
  constructor(body = null, init = undefined) {
    let status = 200;
    let statusText = '';
    let pairs = null;
    if (init !== undefined && init !== null) {
      if (typeof init !== 'object' && typeof init !== 'function') {
        throw new TypeError('Response: init must be an object.');
      }
      if (init.status !== undefined) {
        status = Number(init.status);
        if (!(status >= 200 && status <= 599)) throw new RangeError('init["status"] must be in the range of 200 to 599, inclusive.');
        status = Math.trunc(status);
      }
      if (init.statusText !== undefined) {
        statusText = String(init.statusText);
        if (!REASON.test(statusText)) throw new TypeError('Invalid statusText');
      }
      const { headers } = init;
      if (headers !== undefined) {
        pairs = [];
        fillPairs(pairs, headers);
      }
    }
    this[kStatus] = status;
    this[kReason] = statusText;
    this[kPairs] = pairs;
    this[kHeaders] = null;
    this[kReal] = null;
    this[kUsed] = false;
    this[kContent] = null;
    this[kType] = 'default';
    if (body !== null && body !== undefined) {
      if (status === 204 || status === 205 || status === 304) {
        throw new TypeError(`Response constructor: Invalid response status code ${status}`);
      }
      this.#take(body);
    }
  }

  #take(body) {
    if (typeof body === 'string') {
      this[kContent] = body;
      this.#defaultType('text/plain;charset=UTF-8');
    } else if (isUint8Array(body)) {
      // A copy, as the standard asks: the caller may write into its array again.
      this[kContent] = new Uint8Array(body);
    } else if (isArrayBuffer(body)) {
      this[kContent] = new Uint8Array(body.slice(0));
    } else if (typeof body === 'object' || typeof body === 'function') {
      this.#become(body);
    } else {
      this[kContent] = String(body);
      this.#defaultType('text/plain;charset=UTF-8');
    }
  }

  #defaultType(type) {
    if (this[kPairs] === null) {
      this[kPairs] = ['content-type', type];
      return;
    }
    for (let i = 0; i < this[kPairs].length; i += 2) if (this[kPairs][i] === 'content-type') return;
    this[kPairs].push('content-type', type);
  }

  /** Hands the body to a real response. Its headers stay here. */
  #become(body) {
    const Response = node('Response');
    this[kReal] = new Response(body, { status: this[kStatus], statusText: this[kReason] });
    this[kContent] = null;
    const type = this[kReal].headers.get('content-type');
    if (type !== null && typeof body !== 'string') this.#defaultType(type);
  }

  #real() {
    if (this[kReal] === null) {
      this.#become(this[kContent]);
      if (this[kUsed]) this[kReal].body?.cancel().catch(() => {});
    }
    return this[kReal];
  }

  get status() {
    return this[kStatus];
  }
  get ok() {
    return this[kStatus] >= 200 && this[kStatus] <= 299;
  }
  get statusText() {
    return this[kReason];
  }
  get type() {
    return this[kType];
  }
  get url() {
    return '';
  }
  get redirected() {
    return false;
  }
  get headers() {
    if (this[kHeaders] === null) {
      this[kPairs] ??= [];
      this[kHeaders] = new LeanHeaders(this[kPairs]);
    }
    return this[kHeaders];
  }
  get body() {
    if (this[kContent] === null && this[kReal] === null) return null;
    return this.#real().body;
  }
  get bodyUsed() {
    return this[kUsed] || (this[kReal] !== null && this[kReal].bodyUsed);
  }

  /** The whole body, when no stream of it exists: a string, bytes or null. Marks it used. */
  #takeContent() {
    if (this[kUsed]) throw unusable();
    const content = this[kContent];
    if (content !== null) this[kUsed] = true;
    return content;
  }

  async text() {
    if (this[kReal] !== null) return this[kReal].text();
    const content = this.#takeContent();
    if (content === null) return '';
    return typeof content === 'string' ? content.toWellFormed?.() ?? content : decoder.decode(content);
  }
  async json() {
    return JSON.parse(await this.text());
  }
  async bytes() {
    if (this[kReal] !== null) return new Uint8Array(await this[kReal].arrayBuffer());
    const content = this.#takeContent();
    if (content === null) return new Uint8Array();
    return typeof content === 'string' ? new TextEncoder().encode(content) : content;
  }
  async arrayBuffer() {
    const { buffer, byteOffset, byteLength } = await this.bytes();
    return byteLength === buffer.byteLength ? buffer : buffer.slice(byteOffset, byteOffset + byteLength);
  }
  async blob() {
    return new Blob([await this.bytes()], { type: this.headers.get('content-type') ?? '' });
  }
  async formData() {
    const type = this.headers.get('content-type');
    const Response = node('Response');
    return new Response(await this.bytes(), { headers: type === null ? {} : { 'content-type': type } }).formData();
  }

  clone() {
    if (this.bodyUsed || this[kReal]?.body?.locked) throw new TypeError('Response.clone: Body has already been consumed.');
    const copy = new globalThis.Response(null, undefined);
    copy[kStatus] = this[kStatus];
    copy[kReason] = this[kReason];
    copy[kType] = this[kType];
    copy[kPairs] = this[kPairs] === null ? null : this[kPairs].slice();
    if (this[kReal] !== null) copy[kReal] = this[kReal].clone();
    else copy[kContent] = this[kContent];
    return copy;
  }

  static json(data, init = undefined) {
    const text = JSON.stringify(data);
    if (text === undefined) throw new TypeError('Response.json: the value cannot be serialized as JSON.');
    const response = new LeanResponse(null, init);
    if (response[kStatus] === 204 || response[kStatus] === 205 || response[kStatus] === 304) {
      throw new TypeError(`Response.json: Invalid response status code ${response[kStatus]}`);
    }
    response[kContent] = text;
    response.#defaultType('application/json');
    return response;
  }

  static redirect(url, status = 302) {
    const location = new URL(String(url)).href;
    if (![301, 302, 303, 307, 308].includes(status)) throw new RangeError(`Invalid status code ${status}`);
    return new LeanResponse(null, { status, headers: { location } });
  }

  static error() {
    const response = new LeanResponse();
    response[kStatus] = 0;
    response[kType] = 'error';
    return response;
  }

  /** Ours and Node's are both responses; a subclass only has its own. */
  static [Symbol.hasInstance](value) {
    if (this !== LeanResponse) return Function.prototype[Symbol.hasInstance].call(this, value);
    if (value === null || typeof value !== 'object') return false;
    return LeanResponse.prototype.isPrototypeOf(value) || value instanceof node('Response');
  }

  [Symbol.for('nodejs.util.inspect.custom')](_depth, options, inspect) {
    const { status, statusText, headers, bodyUsed, ok, redirected, type, url } = this;
    return `Response ${inspect({ status, statusText, headers, bodyUsed, ok, redirected, type, url }, options)}`;
  }
}
Object.defineProperty(LeanResponse, 'name', { value: 'Response', configurable: true });
Object.defineProperty(LeanResponse.prototype, Symbol.toStringTag, { value: 'Response', configurable: true });

/** Whether `value` was made by `new Response` of ours, so that its fields can be read without its getters. */
function isLeanResponse(value) {
  return value !== null && typeof value === 'object' && LeanResponse.prototype.isPrototypeOf(value);
}

// Request.

/**
 * `source` is what serves the request: `{ head, hasBody, collect(): Promise<Uint8Array>, stream(): ReadableStream,
 * onAbort(callback), aborted }`. The body is either collected or streamed, once.
 */
class LeanRequest {
  constructor(source) {
    this[kSource] = source;
    this[kUrl] = null;
    this[kHeaders] = null;
    this[kStream] = null;
    this[kUsed] = false;
    this[kController] = null;
  }

  get method() {
    return this[kSource].head.method;
  }
  get url() {
    return (this[kUrl] ??= urlOf(this[kSource].head));
  }
  get headers() {
    if (this[kHeaders] === null) {
      const list = this[kSource].head.rawFields();
      for (let i = 0; i < list.length; i += 2) list[i] = list[i].toLowerCase();
      this[kHeaders] = new LeanHeaders(list);
    }
    return this[kHeaders];
  }
  get body() {
    if (!this[kSource].hasBody) return null;
    if (this[kStream] === null) {
      if (this[kUsed]) {
        // Read to the end already: a stream that says so.
        this[kStream] = new ReadableStream({ start: (controller) => controller.close() });
        this[kStream].getReader();
      } else {
        this[kStream] = this[kSource].stream();
      }
    }
    return this[kStream];
  }
  get bodyUsed() {
    return this[kUsed] || (this[kStream] !== null && isDisturbed(this[kStream]));
  }
  get signal() {
    if (this[kController] === null) {
      const controller = new AbortController();
      this[kController] = controller;
      this[kSource].onAbort(() => controller.abort());
    }
    return this[kController].signal;
  }

  get cache() {
    return 'default';
  }
  get credentials() {
    return 'same-origin';
  }
  get destination() {
    return '';
  }
  get duplex() {
    return 'half';
  }
  get integrity() {
    return '';
  }
  get keepalive() {
    return false;
  }
  get isReloadNavigation() {
    return false;
  }
  get isHistoryNavigation() {
    return false;
  }
  get mode() {
    return 'cors';
  }
  get redirect() {
    return 'follow';
  }
  get referrer() {
    return 'about:client';
  }
  get referrerPolicy() {
    return '';
  }

  async bytes() {
    if (this.bodyUsed || this[kStream]?.locked) throw unusable();
    if (!this[kSource].hasBody) return new Uint8Array();
    this[kUsed] = true;
    if (this[kStream] !== null) return collectStream(this[kStream]);
    return this[kSource].collect();
  }
  async text() {
    return decoder.decode(await this.bytes());
  }
  async json() {
    return JSON.parse(await this.text());
  }
  async arrayBuffer() {
    const { buffer, byteOffset, byteLength } = await this.bytes();
    return byteLength === buffer.byteLength ? buffer : buffer.slice(byteOffset, byteOffset + byteLength);
  }
  async blob() {
    return new Blob([await this.bytes()], { type: this.headers.get('content-type') ?? '' });
  }
  async formData() {
    const type = this.headers.get('content-type');
    const Response = node('Response');
    return new Response(await this.bytes(), { headers: type === null ? {} : { 'content-type': type } }).formData();
  }

  /** Node's own request with the same content; the body goes with it. */
  toNode() {
    const Request = node('Request');
    const { method, headers, signal, body } = this;
    if (this.bodyUsed || this[kStream]?.locked) throw unusable();
    const real = new Request(this.url, { method, headers: [...headers], signal, body, duplex: body === null ? undefined : 'half' });
    return real;
  }

  clone() {
    if (this.bodyUsed || this[kStream]?.locked) throw new TypeError('Request.clone: Body has already been consumed.');
    const { body } = this;
    if (body === null) return this.toNode();
    const [mine, theirs] = body.tee();
    this[kStream] = mine;
    const Request = node('Request');
    return new Request(this.url, {
      method: this.method,
      headers: [...this.headers],
      signal: this.signal,
      body: theirs,
      duplex: 'half',
    });
  }

  [Symbol.for('nodejs.util.inspect.custom')](_depth, options, inspect) {
    const { method, url, headers, bodyUsed } = this;
    return `Request ${inspect({ method, url, headers, bodyUsed }, options)}`;
  }
}
Object.defineProperty(LeanRequest, 'name', { value: 'Request', configurable: true });
Object.defineProperty(LeanRequest.prototype, Symbol.toStringTag, { value: 'Request', configurable: true });

function isDisturbed(stream) {
  return require('node:stream').Readable.isDisturbed?.(stream) ?? require('node:stream').isDisturbed(stream);
}

async function collectStream(stream) {
  const chunks = [];
  for await (const chunk of stream) chunks.push(asBytes(chunk));
  return new Uint8Array(Buffer.concat(chunks));
}

// A target whose path the URL parser would leave as it is: no dot segments, nothing to escape.
const PLAIN_TARGET = /^\/(?!\/)[\w\-~!$&()*+,;=:@/%.?]*$/;
const DOT_SEGMENT = /\/\.|%2e/i;
const ORIGINS_MAX = 64;
const origins = new Map();

/** `https://host/path?query`, normalized as `new URL(…).href` does it. */
function urlOf(head) {
  const host = head.field('host') ?? '';
  const key = head.secure ? `https://${host}` : `http://${host}`;
  let origin = origins.get(key);
  if (origin === undefined) {
    // A host that is no host: still a URL the handler can look at.
    origin = URL.canParse(`${key}/`) ? new URL(`${key}/`).origin : `${head.secure ? 'https' : 'http'}://localhost`;
    if (origins.size < ORIGINS_MAX) origins.set(key, origin);
  }
  const { target } = head;
  if (PLAIN_TARGET.test(target) && !DOT_SEGMENT.test(target)) return origin + target;
  if (!target.startsWith('/')) return `${origin}/`;
  return new URL(origin + target).href;
}

// The globals.

/** Replaces `Request`, `Response`, `Headers` and `fetch`. Once a process. */
function install() {
  for (const name of ['Request', 'Response', 'Headers', 'fetch']) {
    own[name] = Object.getOwnPropertyDescriptor(globalThis, name);
  }
  define('Response', { value: LeanResponse, writable: true });
  defineLazy('Headers', () => {
    const Headers = node('Headers');
    // Ours are Headers as soon as anybody can ask.
    Object.setPrototypeOf(LeanHeaders.prototype, Headers.prototype);
    return Headers;
  });
  defineLazy('Request', () => {
    const NodeRequest = node('Request');
    class Request extends NodeRequest {
      constructor(input, init) {
        super(input instanceof LeanRequest ? (init?.body === undefined ? input.toNode() : input.url) : input, leanInit(input, init));
      }
      static [Symbol.hasInstance](value) {
        if (this !== Request) return Function.prototype[Symbol.hasInstance].call(this, value);
        return NodeRequest.prototype.isPrototypeOf(value) || LeanRequest.prototype.isPrototypeOf(value);
      }
    }
    Object.setPrototypeOf(LeanRequest.prototype, Request.prototype);
    return Request;
  });
  const nodeFetch = node('fetch');
  define('fetch', {
    value: function fetch(input, init = undefined) {
      return nodeFetch(LeanRequest.prototype.isPrototypeOf(input) ? input.toNode() : input, init);
    },
    writable: true,
  });
}

/** `new Request(request, { body })` keeps the method and headers of `request` but not its body. */
function leanInit(input, init) {
  if (!LeanRequest.prototype.isPrototypeOf(input) || init?.body === undefined) return init;
  return { method: input.method, headers: [...input.headers], signal: input.signal, duplex: 'half', ...init };
}

function define(name, descriptor) {
  Object.defineProperty(globalThis, name, { configurable: true, enumerable: own[name].enumerable, ...descriptor });
}

function defineLazy(name, make) {
  define(name, {
    get() {
      const value = make();
      define(name, { value, writable: true });
      return value;
    },
    set(value) {
      define(name, { value, writable: true });
    },
  });
}

module.exports = { LeanRequest, NO_FIELDS, asBytes, install, isLeanResponse, kContent, kPairs, kReal, kReason, kSource, kStatus, kUsed };
