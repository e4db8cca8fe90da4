'use strict';
// What every application of the end-to-end tests answers, as a plain (request, response) function. The paths are
// described once, in tests/e2e/README.md.

const crypto = require('node:crypto');
const { pipeline, Readable } = require('node:stream');

/** Bytes of one chunk of /source. */
const CHUNK = Buffer.alloc(65536, 'x');

function inspect(request) {
  const fields = [];
  for (let i = 0; i < request.rawHeaders.length; i += 2) {
    fields.push([request.rawHeaders[i].toLowerCase(), request.rawHeaders[i + 1]]);
  }
  return {
    method: request.method,
    target: request.url,
    version: request.httpVersion,
    scheme: request.socket.encrypted ? 'https' : 'http',
    client: request.socket.remoteAddress,
    headers: fields,
  };
}

async function sink(request, response) {
  let bytes = 0;
  const hash = crypto.createHash('sha256');
  for await (const chunk of request) {
    bytes += chunk.length;
    if (bytes <= 16 << 20) hash.update(chunk);
  }
  json(response, { bytes, sha256: hash.digest('hex'), trailers: request.trailers });
}

function* parts(left) {
  for (; left > 0; left -= CHUNK.length) yield left >= CHUNK.length ? CHUNK : CHUNK.subarray(0, left);
}

function source(query, response) {
  const bytes = Number(query.get('bytes'));
  response.setHeader('content-type', 'application/octet-stream');
  if (query.get('length')) response.setHeader('content-length', String(bytes));
  // A client that goes away early ends the pipeline with an error that is nobody's fault.
  pipeline(Readable.from(parts(bytes), { objectMode: false }), response, () => {});
}

/** Writes the next part of /stream when the test asks for it by another request, so that nothing is timed. */
const waiting = new Map();

function stream(query, response) {
  response.setHeader('content-type', query.get('type') ?? 'text/event-stream');
  response.write('data: first\n\n');
  waiting.set(query.get('key'), response);
  response.on('close', () => waiting.delete(query.get('key')));
}

function push(query, response) {
  const open = waiting.get(query.get('key'));
  if (open && query.get('end')) open.end('data: last\n\n');
  else if (open) open.write('data: next\n\n');
  response.end(String(Boolean(open)));
}

function json(response, value, status = 200) {
  const body = JSON.stringify(value);
  response.writeHead(status, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) });
  response.end(body);
}

let held = 0;

async function handle(request, response) {
  const url = new URL(request.url, 'http://localhost');
  const query = url.searchParams;
  switch (url.pathname) {
    case '/':
      response.setHeader('content-type', 'text/plain');
      return response.end('hello');
    case '/json':
      return json(response, { ok: true });
    case '/inspect':
      return json(response, inspect(request));
    case '/echo':
      response.setHeader('content-type', request.headers['content-type'] ?? 'application/octet-stream');
      return request.pipe(response);
    case '/sink':
      return sink(request, response);
    case '/source':
      return source(query, response);
    case '/stream':
      return stream(query, response);
    case '/push':
      return push(query, response);
    case '/status':
      response.statusCode = Number(query.get('code'));
      return response.end(query.get('code') === '204' || query.get('code') === '304' ? undefined : 'status');
    case '/cookies':
      response.setHeader('set-cookie', ['a=1', 'b=2']);
      return response.end('cookies');
    case '/text':
      response.setHeader('content-type', 'text/plain; charset=utf-8');
      return response.end('compress me, please. '.repeat(Number(query.get('times') ?? 500)));
    case '/wait':
      held += 1;
      setTimeout(() => {
        held -= 1;
        response.end('waited');
      }, Number(query.get('ms')));
      return undefined;
    case '/held':
      return response.end(String(held));
    case '/never':
      return undefined;
    case '/pid':
      return response.end(String(process.pid));
    case '/early':
      response.writeEarlyHints({ link: '</style.css>; rel=preload' });
      return response.end('late');
    case '/trailers':
      response.setHeader('trailer', 'x-sum');
      response.write('body');
      response.addTrailers({ 'x-sum': '42' });
      return response.end();
    case '/close':
      response.setHeader('connection', 'close');
      return response.end('bye');
    case '/print':
      console.log('printed to stdout');
      console.error('printed to stderr');
      return response.end('printed');
    case '/boom':
      throw new Error('the application broke on purpose');
    case '/exit':
      return process.exit(7);
    case '/abort':
      response.write('half');
      return setImmediate(() => response.destroy());
    case '/grow':
      globalThis.grown = Buffer.alloc(Number(query.get('mib')) << 20, 1);
      return response.end('grown');
    case '/crlf':
      response.setHeader('x-bad', 'a\r\nx-injected: yes');
      return response.end('unreachable');
    case '/too-long':
      response.setHeader('content-length', '4');
      return response.end('longer than four');
    case '/too-short':
      response.setHeader('content-length', '400');
      return response.end('short');
    case '/after-end':
      response.on('error', () => {});
      response.end('once');
      return response.write('again');
    case '/throw-after-end':
      response.end('once');
      throw new Error('too late');
    case '/after-end-unheard':
      response.on('finish', () => {});
      response.end('once');
      response.write('again');
      return response.end('and again');
    default:
      response.statusCode = 404;
      return response.end('the application knows no such path');
  }
}

module.exports = { handle };
