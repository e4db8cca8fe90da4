'use strict';
// node:http as a worker serves it, against node:http itself: the same program and the same client, once over TCP under
// plain node and once through links, must see the same.

const assert = require('node:assert/strict');
const { fork } = require('node:child_process');
const http = require('node:http');
const path = require('node:path');
const { after, before, describe, test } = require('node:test');

const { bridge } = require('./bridge.js');
const { FakeFront, WINDOW, serve } = require('./fake-front.js');

const APP = path.join(__dirname, 'apps', 'scenarios.js');

/** Fields that belong to the connection, or to whoever frames the message. */
const OF_THE_CONNECTION = new Set(['connection', 'keep-alive', 'date', 'transfer-encoding']);

function request(port, { path: target, method = 'GET', headers = {}, body, trailers }) {
  return new Promise((resolve) => {
    const seen = { informational: [] };
    const req = http.request({ host: '127.0.0.1', port, path: target, method, headers, agent: false });
    req.on('information', ({ statusCode, headers: fields }) => seen.informational.push([statusCode, fields]));
    req.on('error', (error) => resolve({ error: error.code }));
    req.on('response', (res) => {
      const chunks = [];
      res.on('data', (chunk) => chunks.push(chunk));
      res.on('error', (error) => (seen.cut = error.code));
      res.on('close', () => {
        seen.status = res.statusCode;
        seen.phrase = res.statusMessage;
        seen.body = Buffer.concat(chunks).toString('latin1');
        seen.fields = [];
        for (let i = 0; i < res.rawHeaders.length; i += 2) {
          if (!OF_THE_CONNECTION.has(res.rawHeaders[i].toLowerCase())) seen.fields.push([res.rawHeaders[i], res.rawHeaders[i + 1]]);
        }
        seen.trailers = res.trailers;
        resolve(seen);
      });
    });
    for (const chunk of body ?? []) req.write(chunk);
    if (trailers) req.addTrailers(trailers);
    req.end();
  });
}

const post = (chunks, more = {}) => ({ method: 'POST', headers: { 'content-type': 'text/plain' }, body: chunks, ...more });

/** Scenario → request. */
const SCENARIOS = {
  simple: {},
  unread: {},
  'unread ': { name: 'unread', ...post(['ignored body']) },
  body: post(['one ', 'two ', 'three']),
  'body ': { name: 'body', ...post(['x'], { headers: { 'content-length': 1 } }) },
  'body with trailers': { name: 'body', ...post(['x'], { headers: { 'transfer-encoding': 'chunked', trailer: 'x-t' }, trailers: { 'x-t': 'end' } }) },
  'body without body': { name: 'body' },
  iterate: post(['one ', 'two']),
  'iterate without body': { name: 'iterate' },
  pipe: post(['a', 'b']),
  pipeline: {},
  finished: {},
  'finished with body': { name: 'finished', ...post(['abc']) },
  headers: { headers: { 'X-MiXed': 'y', accept: ['a/b', 'c/d'], cookie: ['a=1', 'b=2'], 'x-dup': ['1', '2'] } },
  headList: {},
  headOnly: {},
  badHeaders: {},
  badChunks: {},
  latin1: {},
  encodings: {},
  writes: {},
  flush: {},
  empty: {},
  notModified: {},
  head: { method: 'HEAD' },
  trailers: { headers: { te: 'trailers' } },
  hints: {},
  wrapped: {},
  implicit: {},
  lengths: {},
  socket: {},
  destroyedResponse: {},
  destroyedLater: {},
  timeout: {},
  streamError: {},
  late: {},
  corked: {},
  reused: {},
  resetHeaders: {},
  assertions: {},
};

/** What differs on purpose; each with its reason. */
function expected(scenario, seen) {
  const plain = structuredClone(seen);
  // The front answers 500 where a plain connection is cut before the response began.
  if (scenario === 'destroyedResponse') plain.client = { status: 500 };
  // What was written before the cut reaches the client or not, as chance will have it.
  if (scenario === 'streamError') plain.client = undefined;
  // 100 Continue is the front's.
  if (scenario === 'hints') plain.client.informational = plain.client.informational.filter(([status]) => status !== 100);
  // The front adds the length of a response that came whole, whether or not the application removed it.
  return plain;
}

describe('a program sees what it sees under plain node', () => {
  let plain;
  let plainPort;
  let front;
  let bridged;

  before(async () => {
    plain = fork(APP, { env: { ...process.env, PORT: '0' } });
    plainPort = await new Promise((resolve) => plain.once('message', resolve));
    front = new FakeFront();
    assert.ok((await front.start(APP)).ready, front.output);
    bridged = await bridge(front);
  });
  after(async () => {
    plain.kill();
    bridged.close();
    await front.stop();
  });

  async function see(port, { name, ...options }) {
    const client = await request(port, { ...options, path: `/${name}?q=1` });
    const log = JSON.parse((await request(port, { path: `/log?name=${name}` })).body);
    return { client, log };
  }

  for (const [scenario, options] of Object.entries(SCENARIOS)) {
    test(scenario, async () => {
      const name = options.name ?? scenario;
      const [ours, theirs] = await Promise.all([
        see(bridged.port, { name, ...options }),
        see(plainPort, { name, ...options }),
      ]);
      const want = expected(scenario, theirs);
      if (scenario === 'destroyedResponse') ours.client = { status: ours.client.status };
      if (scenario === 'streamError') {
        assert.equal(ours.client.cut, 'ECONNRESET');
        ours.client = undefined;
      }
      // Ports and addresses are each connection's own.
      const clean = (log) =>
        JSON.parse(
          JSON.stringify(log)
            .replaceAll('192.0.2.7', '127.0.0.1')
            .replace(/127\.0\.0\.1:\d+/g, 'host')
            // Hop by hop: the front takes it out.
            .replaceAll(',\\"connection\\":\\"close\\"', ''),
        );
      // Where Node chose chunks, the front knows the length of a response that came whole.
      if (!want.client?.fields?.some(([name]) => name === 'Content-Length')) {
        const last = ours.client?.fields?.findIndex(([name, value]) => name === 'Content-Length' && Number(value) === ours.client.body.length);
        if (last >= 0) ours.client.fields.splice(last, 1);
      }
      assert.deepEqual(clean(ours.log), clean(want.log));
      assert.deepEqual(ours.client, want.client);
    });
  }
});
