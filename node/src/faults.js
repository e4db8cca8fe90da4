'use strict';
// Errors on request, for `bireme compare`: what clients, neighbours and the log see of them in any service. Only a worker
// whose environment has BIREME_FAULTS loads this, and it obeys only who knows the word in there. They are made where the
// runtime calls the application, so an application's own error handlers do not see them.
// python/src/bireme/faults.py is its counterpart.

const { setImmediate } = globalThis;

/** `bireme-fault: WORD KIND`. */
const FIELD = 'bireme-fault';
const MESSAGE = 'an error made by bireme compare';

function fail() {
  throw new Error(MESSAGE);
}

async function reject() {
  throw new Error(MESSAGE);
}

/** More than any engine allows. */
function allocate() {
  return new Uint8Array(2 ** 53);
}

/** By kind; `forward` lets the application answer, and `res` is node:http's response. */
const HTTP = {
  throw: fail,
  rejection(forward) {
    reject();
    forward();
  },
  timeout() {},
  aborted_stream(forward, res) {
    res.writeHead(200);
    res.write('part of an answer\n');
    setImmediate(() => res.destroy(new Error(MESSAGE)));
  },
  allocation: allocate,
  crash: () => process.abort(),
};

/** By kind, for `fetch`; each returns what the application would. */
const FETCH = {
  throw: fail,
  rejection(forward) {
    reject();
    return forward();
  },
  timeout: () => new Promise(() => {}),
  aborted_stream() {
    let pulls = 0;
    return new Response(new ReadableStream({
      pull(controller) {
        pulls += 1;
        if (pulls > 3) controller.error(new Error(MESSAGE));
        else controller.enqueue(Buffer.from('part of an answer\n'));
      },
    }));
  },
  allocation: allocate,
  crash: () => process.abort(),
};

/** The fault that a request's field asks for, or undefined. */
function wanted(faults, word, value) {
  if (typeof value !== 'string' || !value.startsWith(`${word} `)) return undefined;
  const kind = value.slice(word.length + 1);
  return Object.hasOwn(faults, kind) ? faults[kind] : undefined;
}

/** Lets a `FetchService` make errors. */
function injectIntoFetch(service, word) {
  const { application } = service;
  service.application = {
    fetch(request, server) {
      const forward = () => application.fetch(request, server);
      const fault = wanted(FETCH, word, request.headers.get(FIELD));
      return fault === undefined ? forward() : fault(forward);
    },
  };
}

/** Lets an `HttpService` make errors. */
function injectIntoHttp(service, word) {
  const { dispatch } = service;
  service.dispatch = (exchange, req, res) => {
    const forward = () => dispatch.call(service, exchange, req, res);
    const fault = wanted(HTTP, word, req.headers[FIELD]);
    if (fault === undefined) {
      forward();
      return;
    }
    try {
      fault(forward, res);
    } catch (error) {
      service.threw(exchange, error);
    }
  };
}

module.exports = { injectIntoFetch, injectIntoHttp };
