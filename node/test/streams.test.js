'use strict';
// What a stream owes the protocol: credit, cancellation, resets, and a worker that survives its application's mistakes.

const assert = require('node:assert/strict');
const { test } = require('node:test');

const { T, WINDOW, serve } = require('./fake-front.js');

/** A worker whose handler is `body`, in a function of `(req, res)` with node's modules at hand. */
const program = (body) => ({
  name: 'a.js',
  source: `const http = require('http');\nconst server = http.createServer((req, res) => {\n${body}\n}).listen(0);`,
});

test('a response waits for credit, says so, and goes on with it', async (t) => {
  const front = await serve(t, program(`
    const more = res.write(Buffer.alloc(${WINDOW} + 1000, 'a'));
    const again = res.write('b');
    res.on('drain', () => res.end(JSON.stringify({ more, again, needed: true })));`));
  const exchange = front.request({}, { autoCredit: false });
  await exchange.until(({ bytes }) => bytes === WINDOW);
  assert.equal(exchange.ended, false);
  exchange.creditedToWorker = 100_000;
  exchange.credit(100_000);
  await exchange.settled();
  assert.equal(exchange.text.slice(WINDOW + 1000), 'b{"more":false,"again":false,"needed":true}');
});

test('a chunk that waited is called back once, also when the response ends with it', async (t) => {
  const front = await serve(t, program(`
    const calls = [];
    res.write(Buffer.alloc(${WINDOW} + 1000), (error) => calls.push(error?.code ?? 'written'));
    res.end();
    res.on('close', () => setImmediate(() => console.log(JSON.stringify(calls))));`));
  const exchange = front.request({}, { autoCredit: false });
  await exchange.until(({ bytes }) => bytes === WINDOW);
  exchange.creditedToWorker = 100_000;
  exchange.credit(100_000);
  await exchange.settled();
  await front.ping('x');
  await front.drain();
  assert.match(front.output, /\["written"\]/);
});

test('a long download through pipe never sends beyond credit and arrives whole', async (t) => {
  const front = await serve(t, program(`
    const { Readable } = require('stream');
    let left = 512;
    Readable.from((function* () { while (left-- > 0) yield Buffer.alloc(65536, left & 255) })()).pipe(res);`));
  const exchange = await front.fetch();
  assert.equal(exchange.bytes, 512 * 65536);
  assert.equal(exchange.ended, true);
});

test('one long string and one long buffer arrive whole', async (t) => {
  const front = await serve(t, program(`
    if (req.url === '/string') res.end('é'.repeat(400_000));
    else res.end(Buffer.alloc(1_500_000, 7));`));
  const text = await front.fetch({ target: '/string' });
  assert.equal(text.text, 'é'.repeat(400_000));
  const bytes = await front.fetch();
  assert.ok(bytes.body.equals(Buffer.alloc(1_500_000, 7)));
});

test('a long upload flows as it is read, and not before', async (t) => {
  const front = await serve(t, program(`
    let bytes = 0;
    const begin = () => req.on('data', (chunk) => (bytes += chunk.length)).on('end', () => res.end(String(bytes)));
    if (req.url === '/now') begin();
    else { res.write('waiting '); server.once('begin', begin); http.createServer(() => {}); }
    if (req.url === '/begin') { res.end(); server.emit('begin'); }`));
  const now = front.request({ method: 'POST', target: '/now' }, { end: false });
  await now.upload(Buffer.alloc(20_000_000));
  assert.equal((await now.settled()).text, '20000000');

  const later = front.request({ method: 'POST', target: '/later' }, { end: false });
  const uploaded = later.upload(Buffer.alloc(WINDOW * 3));
  await later.until(({ sendCredit }) => sendCredit === 0);
  assert.equal(later.credited, 0);
  await front.fetch({ target: '/begin' });
  await uploaded;
  assert.equal((await later.settled()).text, `waiting ${WINDOW * 3}`);
});

test('a body nobody reads is reset with NO_ERROR once the response is out', async (t) => {
  const front = await serve(t, program(`res.end('no thanks');`));
  const exchange = front.request({ method: 'POST' }, { end: false });
  await exchange.until(({ reset }) => reset !== null);
  assert.equal(exchange.text, 'no thanks');
  assert.equal(exchange.ended, true);
  assert.equal(exchange.reset.code, 0);
});

test('a body read after the response still arrives', async (t) => {
  const front = await serve(t, program(`
    let text = '';
    req.on('data', (chunk) => (text += chunk)).on('end', () => console.log('read', text));
    res.end('early');`));
  const exchange = front.request({ method: 'POST' }, { end: false });
  await exchange.settled();
  exchange.send('late body', { end: true });
  await front.ping('x');
  await front.drain();
  assert.match(front.output, /read late body/);
});

test('a client that goes away aborts request and response', async (t) => {
  const front = await serve(t, {
    name: 'a.js',
    source: `
      const seen = [];
      require('http').createServer((req, res) => {
        if (req.url === '/seen') { setTimeout(() => res.end(JSON.stringify(seen)), 20); return; }
        const note = (what) => seen.push(what);
        req.on('aborted', () => note('req aborted')).on('close', () => note('req close')).on('error', (error) => note('req ' + error.code));
        res.on('close', () => note('res close ' + res.writableFinished + ' ' + res.destroyed)).on('finish', () => note('finish'));
        req.socket.on('close', () => note('socket close'));
        res.write('begun');
      }).listen(0);`,
  });
  const exchange = front.request();
  await exchange.until(({ bytes }) => bytes === 5);
  exchange.cancel();
  const seen = JSON.parse((await front.fetch({ target: '/seen' })).text);
  assert.deepEqual(seen.sort(), ['req ECONNRESET', 'req aborted', 'req close', 'res close false true', 'socket close']);
});

test('a closed link aborts its streams and no others', async (t) => {
  const front = await serve(t, {
    name: 'a.js',
    source: `
      let closed = 0;
      require('http').createServer((req, res) => {
        if (req.url === '/count') { res.end(String(closed)); return; }
        res.on('close', () => closed++);
        res.write('x');
      }).listen(0);`,
  }, { links: 2 });
  const one = front.request();
  await one.until(({ bytes }) => bytes === 1);
  front.links[0].socket.destroy();
  await front.links[0].closed;
  let count;
  do count = (await front.fetch({ target: '/count' }, { link: 1 })).text;
  while (count === '0');
  assert.equal(count, '1');
});

const MISTAKES = [
  ['a listener that throws', `throw new Error('boom')`, 2, /Error: boom\n.*a\.js:/s],
  ['a listener that throws after it has begun its response', `res.write('x'); throw new Error('boom')`, 2, /Error: boom/],
  ['a body longer than its content-length', `res.setHeader('content-length', 2); res.end('three')`, 5, /GET \/ has content-length 2 but its body has 5 bytes/],
  ['a body shorter than its content-length', `res.setHeader('content-length', 9); res.end('three')`, 5, /content-length 9 but its body has 5 bytes/],
  ['no body where one is promised', `res.setHeader('content-length', 9); res.end()`, 5, /content-length 9 but its body has 0 bytes/],
  ['a streamed body longer than its content-length', `res.writeHead(200, { 'content-length': 2 }); res.write('a'); setImmediate(() => { res.write('bcd') })`, 5, /content-length 2 but its body has 4 bytes/],
  ['a streamed body shorter than its content-length', `res.writeHead(200, { 'content-length': 5 }); res.write('a'); setImmediate(() => res.end())`, 5, /content-length 5 but its body has 1 bytes/],
  ['a status that is none', `res.writeHead(700); res.end()`, 5, /status 700; 200 to 599 can be sent/],
  ['a switch of protocols nobody asked for', `res.writeHead(101); res.end()`, 5, /status 101/],
  ['a field too long for a frame', `res.setHeader('x', 'a'.repeat(70000)); res.end()`, 5, /field "x" is longer than 65535 bytes/],
  ['a destroyed response', `res.destroy()`, 2, /destroyed the connection of GET \//],
  ['a destroyed request, with a reason', `req.destroy(new Error('enough'))`, 2, /destroyed the connection of GET \/: Error: enough/],
];
for (const [what, body, code, text] of MISTAKES) {
  test(`${what} resets its stream, and the worker serves on`, async (t) => {
    const front = await serve(t, program(`if (req.url === '/ok') { res.end('ok'); return; }\n${body}`));
    const exchange = await front.fetch();
    assert.equal(exchange.reset?.code, code, JSON.stringify(exchange.reset));
    assert.match(exchange.reset.text, text);
    assert.equal((await front.fetch({ target: '/ok' })).text, 'ok');
    assert.equal(front.child.exitCode, null);
  });
}

test('a program with its own uncaughtException listener sees what its listeners throw', async (t) => {
  const front = await serve(t, {
    name: 'a.js',
    source: `
      let last;
      process.on('uncaughtException', (error) => last.end('caught ' + error.message));
      require('http').createServer((req, res) => { last = res; throw new Error('boom') }).listen(0);`,
  });
  assert.equal((await front.fetch()).text, 'caught boom');
});

test('a handler that throws or rejects resets its stream', async (t) => {
  const front = await serve(t, {
    name: 'a.mjs',
    source: `
      export default (req, res) => {
        if (req.url === '/throws') throw new TypeError('thrown');
        if (req.url === '/rejects') return Promise.reject(new TypeError('rejected'));
        if (req.url === '/late') { res.end('fine'); return Promise.reject(new TypeError('late')); }
        res.end('ok');
      };`,
  });
  assert.match((await front.fetch({ target: '/throws' })).reset.text, /TypeError: thrown/);
  assert.match((await front.fetch({ target: '/rejects' })).reset.text, /TypeError: rejected/);
  assert.equal((await front.fetch({ target: '/late' })).text, 'fine');
  assert.equal((await front.fetch({ target: '/ok' })).text, 'ok');
});

test('a producer of events that fails costs its response, and not the worker', async (t) => {
  const front = await serve(t, program(`
    const { EventStream } = require('bireme');
    if (req.url === '/plain') return res.end('plain');
    new EventStream(async function* () { yield 'one'; throw new Error('boom'); }).send(req, res);`));
  const exchange = await front.fetch();
  assert.match(exchange.reset.text, /Error: boom/);
  assert.equal((await front.fetch({ target: '/plain' })).text, 'plain');
});

test('frames that crossed a closed stream are ignored', async (t) => {
  const front = await serve(t, program(`res.end('hi');`));
  const exchange = await front.fetch();
  exchange.credit(10);
  exchange.cancel();
  exchange.send('x');
  assert.equal((await front.fetch()).text, 'hi');
});

test('frames in pieces and frames in heaps are the same frames', async (t) => {
  const front = await serve(t, program(`
    let text = '';
    req.on('data', (chunk) => (text += chunk)).on('end', () => res.end(text.length + text.slice(-3)));`));
  const link = front.links[0];
  const pieces = [];
  const { write } = link;
  link.write = (bytes) => pieces.push(bytes);
  const first = front.request({ method: 'POST', body: 'begin' }, { end: false });
  first.send('x'.repeat(70_000));
  first.send('end', { end: true });
  const second = front.request({ method: 'POST', body: 'two' });
  link.write = write;
  const heap = Buffer.concat(pieces);
  // Cut inside headers, inside payloads, and one byte at a time around a boundary.
  const cuts = [1, 5, 11, 12, 13, 40, 41, 42, 100, 5000, 70_000, heap.length];
  let at = 0;
  for (const cut of cuts) {
    link.write(heap.subarray(at, cut));
    at = cut;
    // A round trip on the other link: the piece has been read by then, alone.
    await front.ping(String(cut));
  }
  assert.equal((await first.settled()).text, '70008end');
  assert.equal((await second.settled()).text, '3two');
});

test('many requests at once on several links each get their own answer', async (t) => {
  const front = await serve(t, program(`
    const answer = () => res.end(req.url);
    if (req.url.endsWith('7')) setTimeout(answer, 5); else if (req.url.endsWith('3')) setImmediate(answer); else answer();`), { links: 3 });
  const all = [];
  for (let i = 0; i < 900; i++) all.push(front.fetch({ target: `/${i}` }, { link: i % 3 }));
  const answers = await Promise.all(all);
  assert.deepEqual(answers.map(({ text }) => text), all.map((_, i) => `/${i}`));
});

test('a slow handler does not hold back answers that are ready', async (t) => {
  const front = await serve(t, program(`
    if (req.url === '/slow') { const until = Date.now() + 150; while (Date.now() < until); }
    res.end(String(Date.now()));`));
  const quick = [];
  const link = front.links[0];
  const pieces = [];
  const { write } = link;
  link.write = (bytes) => pieces.push(bytes);
  for (let i = 0; i < 3; i++) quick.push(front.request());
  const slow = [front.request({ target: '/slow' }), front.request({ target: '/slow' })];
  link.write = write;
  link.write(Buffer.concat(pieces));
  // The first slow answer is written while the second is being made.
  await slow[0].settled();
  assert.equal(slow[1].ended, false);
  await Promise.all(quick.map((exchange) => exchange.settled()));
  await slow[1].settled();
});

test('HTTP/1.0 and HTTP/2 requests are what an application expects behind a proxy', async (t) => {
  const front = await serve(t, program(`res.end(req.httpVersion + ' ' + req.socket.encrypted + ' ' + req.socket.remoteAddress);`));
  assert.equal((await front.fetch({ version: 10 })).text, '1.0 undefined 192.0.2.7');
  assert.equal((await front.fetch({ version: 20, scheme: 1 })).text, '1.1 true 192.0.2.7');
  assert.equal((await front.fetch({ remote: '', remotePort: 0 })).text, '1.1 undefined undefined');
});

test('neither Date nor Connection is sent unless the application wants it', async (t) => {
  const front = await serve(t, program(`
    if (req.url === '/own') { res.setHeader('Date', 'then'); res.setHeader('Connection', 'close'); }
    if (req.url === '/last') res.shouldKeepAlive = false;
    res.end();`));
  assert.deepEqual((await front.fetch()).fields, []);
  assert.deepEqual((await front.fetch({ target: '/own' })).fields, [['Date', 'then'], ['Connection', 'close']]);
  assert.deepEqual((await front.fetch({ target: '/last' })).fields, [['Connection', 'close']]);
  assert.equal((await front.fetch()).frames.length, 1);
  assert.equal((await front.fetch()).frames[0], T.RESPONSE);
});

/** Sends requests in one write, so that the worker reads them in one turn. */
function atOnce(front, targets) {
  const link = front.links[0];
  const pieces = [];
  const { write } = link;
  link.write = (bytes) => pieces.push(bytes);
  const exchanges = targets.map((target) => front.request({ target }));
  link.write = write;
  link.write(Buffer.concat(pieces));
  return Promise.all(exchanges.map((exchange) => exchange.settled()));
}

const TARGETS = ['/a', '/b', '/c', '/d'];

test('what one request enters with AsyncLocalStorage no other request sees', async (t) => {
  const front = await serve(t, {
    name: 'a.js',
    source: `
      const als = new (require('async_hooks').AsyncLocalStorage)();
      require('http').createServer((req, res) => {
        const before = als.getStore();
        als.enterWith(req.url);
        setTimeout(() => res.end(JSON.stringify([before ?? null, als.getStore()])), 2);
      }).listen(0);`,
  });
  const answers = [...(await atOnce(front, TARGETS)), ...(await atOnce(front, TARGETS))];
  assert.deepEqual(answers.map(({ text }) => JSON.parse(text)), [...TARGETS, ...TARGETS].map((target) => [null, target]));
});

test("events of a response come in its request's own context", async (t) => {
  const front = await serve(t, {
    name: 'a.js',
    source: `
      const als = new (require('async_hooks').AsyncLocalStorage)();
      const seen = [];
      require('http').createServer((req, res) => {
        if (req.url === '/seen') { res.end(JSON.stringify(seen)); return; }
        als.run(req.url, () => {
          res.on('finish', () => seen.push(['finish', req.url, als.getStore()]));
          res.on('close', () => seen.push(['close', req.url, als.getStore()]));
          res.end('x', () => seen.push(['callback', req.url, als.getStore()]));
        });
      }).listen(0);`,
  });
  await atOnce(front, TARGETS);
  const seen = JSON.parse((await front.fetch({ target: '/seen' })).text);
  assert.equal(seen.length, 3 * TARGETS.length);
  for (const [what, url, store] of seen) assert.equal(store, url, what);
});

test('a fetch handler has a context of its own, too', async (t) => {
  const front = await serve(t, {
    name: 'a.mjs',
    source: `
      import { AsyncLocalStorage } from 'node:async_hooks';
      const als = new AsyncLocalStorage();
      export default { async fetch(request) {
        const before = als.getStore();
        als.enterWith(request.url);
        await null;
        return Response.json([before ?? null, new URL(als.getStore()).pathname]);
      } };`,
  });
  const answers = await atOnce(front, TARGETS);
  assert.deepEqual(answers.map(({ text }) => JSON.parse(text)), TARGETS.map((target) => [null, target]));
});

test('a listener that throws in the middle of a batch loses no other request', async (t) => {
  const source = (extra) => `
    ${extra}
    require('http').createServer((req, res) => {
      if (req.url === '/b') req.on('data', () => { throw new Error('in data') });
      req.on('end', () => res.end('ok'));
      req.resume();
      res.write('listening, ');
    }).listen(0);`;
  for (const extra of ['', `process.on('uncaughtException', () => {});`]) {
    const front = await serve(t, { name: 'a.js', source: source(extra) });
    const link = front.links[0];
    const exchanges = TARGETS.map((target) => front.request({ method: 'POST', target }, { end: false }));
    await Promise.all(exchanges.map((exchange) => exchange.until(({ bytes }) => bytes > 0)));
    const pieces = [];
    const { write } = link;
    link.write = (bytes) => pieces.push(bytes);
    for (const exchange of exchanges) exchange.send('body', { end: true });
    link.write = write;
    link.write(Buffer.concat(pieces));
    const [a, b, c, d] = await Promise.all(exchanges.map((exchange, i) => (i === 1 && extra !== '' ? exchange : exchange.settled())));
    assert.deepEqual([a.text, c.text, d.text], Array(3).fill('listening, ok'));
    if (extra === '') assert.match(b.reset.text, /in data/);
  }
});
