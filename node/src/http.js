'use strict';
// node:http served from links. The requests are real `http.IncomingMessage` objects and the responses real
// `http.ServerResponse` objects; what they would do with a socket, they do with frames.

const diagnostics = require('node:diagnostics_channel');
const http = require('node:http');

const { RequestContexts } = require('./context.js');
const { HttpExchange } = require('./exchange.js');
const { FLAG, RESET, RequestHead } = require('./frames.js');
const { kExchange, kIncomingMessage, kServerResponse, kUniqueHeaders } = require('./http-internals.js');
const { RequestSocket } = require('./socket.js');
const { openTunnel } = require('./upgrade.js');

const { IncomingMessage, ServerResponse } = http;

const requestStart = diagnostics.channel('http.server.request.start');

/**
 * The constructors of the objects `listener` will get. Express gives each request and response its own prototypes
 * first thing, which V8 punishes: in Node 20 and 22 every property added afterwards costs microseconds. When the
 * server's one listener is an Express application, the objects are born with those prototypes, and replacing them has
 * no effect. In every other case they are what Node makes.
 */
function constructorsFor(server, listener) {
  const Request = server[kIncomingMessage];
  const Response = server[kServerResponse];
  const request = listener?.request;
  const response = listener?.response;
  const express =
    typeof listener === 'function' &&
    typeof listener.handle === 'function' &&
    Request === IncomingMessage &&
    Response === ServerResponse &&
    IncomingMessage.prototype.isPrototypeOf(request) &&
    ServerResponse.prototype.isPrototypeOf(response);
  if (!express) return { Request, Response };
  // V8 makes room in an object for as many fields as it finds assigned in the text of its constructor. These two assign
  // none, and a response with 50 fields would become a dictionary, a microsecond slower to build and everywhere after.
  // So each says how many there will be in lines that are never reached.
  function ExpressRequest(socket) {
    IncomingMessage.call(this, socket);
    return;
    // Never reached.
    this.f0 = this.f1 = this.f2 = this.f3 = this.f4 = this.f5 = this.f6 = this.f7 = this.f8 = this.f9 = this.f10 =
      this.f11 = this.f12 = this.f13 = this.f14 = this.f15 = this.f16 = this.f17 = this.f18 = this.f19 =
      this.f20 = this.f21 = this.f22 = this.f23 = this.f24 = this.f25 = this.f26 = this.f27 = this.f28 =
      this.f29 = this.f30 = this.f31 = this.f32 = this.f33 = this.f34 = this.f35 = this.f36 = this.f37 =
      this.f38 = this.f39 = null;
  }
  function ExpressResponse(req, options) {
    ServerResponse.call(this, req, options);
    return;
    // Never reached.
    this.f0 = this.f1 = this.f2 = this.f3 = this.f4 = this.f5 = this.f6 = this.f7 = this.f8 = this.f9 = this.f10 =
      this.f11 = this.f12 = this.f13 = this.f14 = this.f15 = this.f16 = this.f17 = this.f18 = this.f19 =
      this.f20 = this.f21 = this.f22 = this.f23 = this.f24 = this.f25 = this.f26 = this.f27 = this.f28 =
      this.f29 = this.f30 = this.f31 = this.f32 = this.f33 = this.f34 = this.f35 = this.f36 = this.f37 =
      this.f38 = this.f39 = this.f40 = this.f41 = this.f42 = this.f43 = this.f44 = this.f45 = this.f46 =
      this.f47 = this.f48 = this.f49 = this.f50 = this.f51 = null;
  }
  ExpressRequest.prototype = request;
  ExpressResponse.prototype = response;
  return { Request: ExpressRequest, Response: ExpressResponse };
}

/** Serves the requests of data links with an `http.Server` that listens nowhere. */
class HttpService {
  constructor(server) {
    this.server = server;
    this.closing = false;
    this.active = 0;
    this.contexts = new RequestContexts();
    this.listener = undefined;
    this.make = constructorsFor(server, undefined);
    this.responseOptions = { rejectNonStandardBodyWrites: server.rejectNonStandardBodyWrites };
  }

  open(link, id, flags, buffer, start, end) {
    const head = new RequestHead(buffer, start, end);
    if (this.closing) {
      link.reset(id, RESET.REFUSED, 'the application has closed its server');
      return null;
    }
    const server = this.server;
    const receivedEnd = (flags & FLAG.END) !== 0;
    const exchange = new HttpExchange(link, id, receivedEnd, this);
    const socket = new RequestSocket(exchange, head, server);
    const listener = server._events.request;
    if (listener !== this.listener) {
      this.listener = listener;
      this.make = constructorsFor(server, listener);
    }
    const { make } = this;
    const req = new make.Request(socket);
    const raw = head.rawFields();
    // HTTP/2 is the front's affair: to the application this is HTTP/1.1, as behind every reverse proxy.
    req.httpVersionMajor = 1;
    if (head.version === 10) {
      req.httpVersionMinor = 0;
      req.httpVersion = '1.0';
    } else {
      req.httpVersionMinor = 1;
      req.httpVersion = '1.1';
    }
    req.joinDuplicateHeaders = server.joinDuplicateHeaders;
    req.method = head.method;
    req.url = head.target;
    req._addHeaderLines(raw, raw.length);
    req[kExchange] = exchange;
    exchange.version = head.version;
    exchange.socket = socket;
    exchange.req = req;
    this.active++;
    server._connections++;

    if ((flags & FLAG.UPGRADE) !== 0 && server.listenerCount('upgrade') > 0) {
      req.upgrade = true;
      const context = this.contexts.begin();
      if (context === null) return openTunnel(this, req, head, link, id);
      return context.runInAsyncScope(openTunnel, undefined, this, req, head, link, id);
    }
    req.upgrade = false;
    exchange.bodyless = receivedEnd && head.bodyStart === end;
    const res = new make.Response(req, this.responseOptions);
    res[kExchange] = exchange;
    exchange.res = res;
    if (kUniqueHeaders !== undefined) res[kUniqueHeaders] = server[kUniqueHeaders];
    socket._httpMessage = res;
    res.socket = socket;
    if (!exchange.bodyless) {
      // Registered first: the listener may answer at once.
      link.streams.set(id, exchange);
      exchange.receivedEnd = false;
      if (head.bodyStart < end || receivedEnd) exchange.onData(buffer, head.bodyStart, end, receivedEnd);
    }
    const context = this.contexts.begin();
    if (context === null) {
      this.dispatch(exchange, req, res);
    } else {
      exchange.context = context;
      context.runInAsyncScope(this.dispatch, this, exchange, req, res);
    }
    // In Node, too, a request is complete only after its listeners have run once.
    if (exchange.bodyless) req.complete = true;
    return exchange.closed ? null : exchange;
  }

  dispatch(exchange, req, res) {
    const server = this.server;
    try {
      if (requestStart.hasSubscribers) requestStart.publish({ request: req, response: res, socket: exchange.socket, server });
      if (!server.emit('request', req, res)) {
        // Node leaves such a request hanging until a timeout; a server without a listener is a mistake worth an answer.
        exchange.fail(new Error('the http.Server has no listener for "request"'));
      }
    } catch (error) {
      this.threw(exchange, error);
    }
  }

  /** A listener threw before it returned. The worker outlives it unless the program wants to see such errors itself. */
  threw(exchange, error) {
    if (process.listenerCount('uncaughtException') > 0) process.nextTick(rethrow, error);
    else exchange.fail(error);
  }

  /** An exchange is over. */
  closed(exchange) {
    if (!exchange.counted) return;
    exchange.counted = false;
    this.active--;
    const server = this.server;
    if (server._connections > 0) server._connections--;
    if (server._handle === null) server._emitCloseIfDrained();
  }
}

function rethrow(error) {
  throw error;
}

/** Serves with a bare `(req, res)` function. */
class HandlerService extends HttpService {
  constructor(handler) {
    super(http.createServer());
    this.handler = handler;
  }

  dispatch(exchange, req, res) {
    try {
      const returned = this.handler(req, res);
      if (returned !== null && typeof returned === 'object' && typeof returned.then === 'function') {
        returned.then(undefined, (error) => exchange.fail(error));
      }
    } catch (error) {
      this.threw(exchange, error);
    }
  }

  /** A handler is ours to answer for: what it throws concerns its request alone. */
  threw(exchange, error) {
    exchange.fail(error);
  }
}
module.exports = { HandlerService, HttpService };
