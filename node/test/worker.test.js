'use strict';
// A worker's life: how it starts, what it says when it cannot, how it stops.

const assert = require('node:assert/strict');
const { test } = require('node:test');

const { T, attempt, frame, serve } = require('./fake-front.js');

const HTTP = { name: 'server.js', source: `require('http').createServer((req, res) => res.end('hi')).listen(3000);` };

test('a program that listens is ready as http, on as many links as asked', async (t) => {
  const front = await serve(t, HTTP, { links: 3 });
  assert.equal(front.ready.kind, 'http');
  assert.deepEqual(front.ready.notes, ['listen(3000) is served by bireme']);
  assert.equal(front.control.hello.language, 'node');
  assert.equal(front.control.hello.version, process.versions.node);
  for (let link = 0; link < 3; link++) assert.equal((await front.fetch({}, { link })).text, 'hi');
});

const KINDS = [
  ['an ES module with default { fetch }', 'fetch', 'a.mjs', `export default { fetch: () => new Response('hi') }`],
  ['module.exports with fetch', 'fetch', 'a.cjs', `module.exports = { fetch: () => new Response('hi') }`],
  ['an ES module with a default function', 'handler', 'a.mjs', `export default (req, res) => { res.end('hi') }`],
  ['module.exports as a function', 'handler', 'a.js', `module.exports = (req, res) => res.end('hi')`],
  ['a transpiled default export', 'handler', 'a.js', `exports.__esModule = true; exports.default = (req, res) => res.end('hi')`],
  ['an ES module that listens', 'http', 'a.mjs', `import http from 'node:http'; http.createServer((q, s) => s.end('hi')).listen(0)`],
  ['a listen after an await', 'http', 'a.mjs', `import http from 'node:http'; await new Promise((r) => setTimeout(r, 20)); http.createServer((q, s) => s.end('hi')).listen(0)`],
  ['a listen long after the module has loaded', 'http', 'a.js', `setTimeout(() => require('http').createServer((q, s) => s.end('hi')).listen(0), 50)`],
  ['https', 'http', 'a.js', `require('https').createServer({}, (q, s) => s.end('hi')).listen(443)`],
  ['new http.Server', 'http', 'a.js', `new (require('http').Server)((q, s) => s.end('hi')).listen()`],
  ['an exported application that listens a little later', 'http', 'a.js', `
    const app = (req, res) => res.end('hi');
    app.listen = () => require('http').createServer(app).listen(3000);
    module.exports = app;
    setTimeout(app.listen, 50);`],
  ['an exported application that never listens', 'handler', 'a.js', `
    const app = (req, res) => res.end('hi');
    app.listen = () => {};
    module.exports = app;`],
  ['an exported fetch that waits for nothing', 'fetch', 'a.mjs', `export default { fetch: () => new Response('hi'), port: 3000 }`],
];
for (const [what, kind, name, source] of KINDS) {
  test(`${what} is ready as ${kind}`, async (t) => {
    const front = await serve(t, { name, source });
    assert.equal(front.ready.kind, kind);
    assert.equal((await front.fetch()).text, 'hi');
  });
}

test('the main module stays the main module and sees no link in its environment', async (t) => {
  const front = await serve(t, {
    name: 'a.js',
    source: `
      const seen = { main: require.main === module, argv: process.argv.slice(2), service: process.env.BIREME_SERVICE,
        worker: process.env.BIREME_WORKER, rest: Object.keys(process.env).filter((name) => name.startsWith('BIREME_')).sort() };
      let loads = (globalThis.loads ??= 0) + 1; globalThis.loads = loads;
      require('http').createServer((req, res) => res.end(JSON.stringify({ ...seen, loads: globalThis.loads }))).listen(0);`,
  }, { args: ['--flag', 'x'] });
  assert.deepEqual(JSON.parse((await front.fetch()).text), {
    main: true, argv: ['--flag', 'x'], service: 'test', worker: 'test#1', rest: ['BIREME_SERVICE', 'BIREME_WORKER'], loads: 1,
  });
});

test('with several servers, the one on the configured port is the service and others really listen', async (t) => {
  const source = `
    const http = require('http');
    const other = http.createServer((req, res) => res.end('metrics')).listen(0, '127.0.0.1', () => {
      const port = other.address().port;
      http.createServer((req, res) => res.end(String(port))).listen(4321);
    });`;
  const front = await serve(t, { name: 'a.js', source }, { options: { port: 4321 } });
  const port = Number((await front.fetch()).text);
  assert.equal(await (await fetch(`http://127.0.0.1:${port}/`)).text(), 'metrics');
});

test('a second server really listens', async (t) => {
  const source = `
    const http = require('http');
    const first = http.createServer((req, res) => res.end(String(second.address().port))).listen(3000);
    const second = http.createServer((req, res) => res.end('second')).listen(0, '127.0.0.1');`;
  const front = await serve(t, { name: 'a.js', source });
  const port = Number((await front.fetch()).text);
  assert.equal(await (await fetch(`http://127.0.0.1:${port}/`)).text(), 'second');
});

test('child processes and worker threads of a worker are no workers', async (t) => {
  const source = `
    const { fork } = require('child_process');
    const { Worker, isMainThread } = require('worker_threads');
    if (process.argv[2] === 'child') { process.send('child ran'); return; }
    require('http').createServer((req, res) => {
      const child = fork(__filename, ['child']);
      child.once('message', (said) => {
        const thread = new Worker("require('worker_threads').parentPort.postMessage('thread ran')", { eval: true });
        thread.once('message', (also) => res.end(said + ', ' + also));
      });
    }).listen(0);`;
  const front = await serve(t, { name: 'a.js', source });
  assert.equal((await front.fetch()).text, 'child ran, thread ran');
});

const FAILURES = [
  ['a program that throws', 'a.js', `function boom() { throw new TypeError('no config') }\nboom()`, /^TypeError: no config$/, /a\.js:1/, /^$/],
  ['an ES module that throws', 'a.mjs', `throw new Error('no config')`, /^Error: no config$/, /a\.mjs:1/, /^$|rejected/],
  ['a syntax error', 'a.js', `const = 1`, /^SyntaxError/, /a\.js:1/, /^$/],
  ['a rejected promise', 'a.js', `setTimeout(() => {}, 1e6); Promise.reject(new Error('no database'))`, /^Error: no database$/, /a\.js:1/, /promise was rejected/],
  ['a program that does nothing', 'a.js', `exports.answer = 42`, /ended without serving anything; it exports an object with answer/, /^$/, /createServer/],
  ['a program that exits', 'a.js', `process.exit(3)`, /ended before it served anything.*code 3/, /^$/, /createServer/],
  ['a top-level await that never settles', 'a.mjs', `await new Promise(() => {})`, /ended without serving anything|never settled/, /^$/, /createServer/],
  ['a thrown value that is no error', 'a.js', `throw null`, /null/, /null/, /^$/],
];
for (const [what, name, source, error, stack, hint] of FAILURES) {
  test(`${what} fails with its own error`, async (t) => {
    const { front, outcome } = await attempt(t, { name, source });
    assert.ok(outcome.failed, JSON.stringify(outcome));
    assert.match(outcome.failed.error, error);
    assert.match(outcome.failed.stack, stack);
    assert.match(outcome.failed.hint, hint);
    assert.notEqual((await front.exited).code, 0);
  });
}

test("node's own report of an error at start stays on stderr", async (t) => {
  const { front, outcome } = await attempt(t, { name: 'a.js', source: `throw new Error('no config')` });
  assert.ok(outcome.failed);
  await front.exited;
  assert.match(front.output, /Error: no config/);
});

test('an uncaught exception once ready ends the process as in node', async (t) => {
  const front = await serve(t, { name: 'a.js', source: `require('http').createServer((req, res) => setTimeout(() => { throw new Error('late') })).listen(0)` });
  front.request();
  assert.deepEqual(await front.exited, { code: 1, signal: null });
  assert.match(front.output, /Error: late/);
});

test('answers pings', async (t) => {
  const front = await serve(t, HTTP);
  assert.equal(await front.ping('once'), 'once');
  assert.equal(await front.ping('twice'), 'twice');
});

test('exits at once when the control link closes', async (t) => {
  const front = await serve(t, { name: 'a.js', source: `setInterval(() => {}, 1e6); require('http').createServer(() => {}).listen(0)` });
  front.request();
  front.control.socket.destroy();
  assert.equal((await front.exited).signal, null);
});

test('drain closes the server, calls its callbacks and exits with 0', async (t) => {
  const front = await serve(t, {
    name: 'a.js',
    source: `setInterval(() => {}, 1e6); require('http').createServer((q, s) => s.end()).listen(0).on('close', () => console.log('closed', process.exitCode))`,
  });
  await front.fetch();
  assert.deepEqual(await front.drain(), { code: 0, signal: null });
  assert.match(front.output, /closed/);
});

test('drain hands a program that listens for SIGTERM what it waits for', async (t) => {
  const front = await serve(t, {
    name: 'a.js',
    source: `
      const server = require('http').createServer((q, s) => s.end()).listen(0);
      process.on('SIGTERM', () => server.close(() => setTimeout(() => { console.log('pool closed'); process.exit(0) }, 10)));`,
  });
  assert.deepEqual(await front.drain(), { code: 0, signal: null });
  assert.match(front.output, /pool closed/);
});

test('a fetch worker drains too', async (t) => {
  const front = await serve(t, { name: 'a.mjs', source: `export default { fetch: () => new Response('hi') }` });
  assert.deepEqual(await front.drain(), { code: 0, signal: null });
});

test('a server that the program closes itself finishes what it has begun, then lets the process end', async (t) => {
  const source = `
    const server = require('http').createServer((req, res) => {
      if (req.url === '/slow') { server.close(() => console.log('closed', server.listening)); setTimeout(() => res.end('done'), 30); }
      else res.end('hi');
    }).listen(0);`;
  const front = await serve(t, { name: 'a.js', source });
  const slow = front.request({ target: '/slow' });
  const refused = await front.fetch();
  assert.equal(refused.reset.code, 4);
  assert.equal((await slow.settled()).text, 'done');
  assert.deepEqual(await front.exited, { code: 0, signal: null });
  assert.match(front.output, /closed false/);
});

test('listen keeps its promises', async (t) => {
  const source = `
    const http = require('http'), assert = require('assert');
    const server = http.createServer((req, res) => res.end(JSON.stringify(seen)));
    const seen = [];
    server.on('listening', () => seen.push('event'));
    seen.push(server.listening, server.address());
    const returned = server.listen({ port: 3123 }, () => seen.push('callback'));
    seen.push(returned === server, server.listening, server.address());
    try { server.listen(1) } catch (error) { seen.push(error.code) }
    http.createServer().on('error', (error) => seen.push(error.code));
    server.getConnections((error, count) => seen.push(count));
    assert.throws(() => http.createServer().listen(70000), { code: 'ERR_SOCKET_BAD_PORT' });`;
  const front = await serve(t, { name: 'a.js', source });
  assert.deepEqual(JSON.parse((await front.fetch()).text), [
    false, null, true, true, { address: '::', family: 'IPv6', port: 3123 }, 'ERR_SERVER_ALREADY_LISTEN', 'event', 'callback', 0,
  ]);
});

test('listen on a path says so', async (t) => {
  const source = `const s = require('http').createServer((req, res) => res.end(s.address())).listen('/tmp/bireme-never-bound.sock')`;
  const front = await serve(t, { name: 'a.js', source });
  assert.equal((await front.fetch()).text, '/tmp/bireme-never-bound.sock');
});

const BREACHES = [
  ['an unknown frame type', (front) => front.links[0].write(frame(0x7f, 1))],
  ['a frame too long', (front) => front.links[0].write(frame(T.DATA, 1).fill(0xff, 0, 4))],
  ['a stream never opened', (front) => front.links[0].write(frame(T.DATA, 99))],
  ['a request that does not parse', (front) => front.links[0].write(frame(T.REQUEST, 1, { payload: Buffer.alloc(21, 0xff) }))],
  ['a frame in the wrong direction', (front) => front.links[0].write(frame(T.RESPONSE, 0))],
];
for (const [what, breach] of BREACHES) {
  test(`${what} ends that link and nothing else`, async (t) => {
    const front = await serve(t, HTTP, { links: 2 });
    breach(front);
    await front.links[0].closed;
    assert.equal((await front.fetch({}, { link: 1 })).text, 'hi');
    assert.match(front.output, /link 0 closed: the front sent ProtocolError/);
  });
}

test('a wrong environment is one clear line', async (t) => {
  const { front, outcome } = await attempt(t, HTTP, { env: { BIREME_LINKS: 'many' } });
  assert.equal(outcome.exited.code, 1);
  assert.match(front.output, /BIREME_LINKS is "many"; it must be a number from 0 to 1024/);
});


test('a program that forks with node:cluster is told what to do instead', async (t) => {
  const source = `
    const cluster = require('cluster');
    if (cluster.isPrimary) cluster.fork();
    else require('http').createServer((req, res) => res.end()).listen(0);`;
  const { outcome } = await attempt(t, { name: 'a.js', source });
  assert.match(outcome.failed.error, /node:cluster/);
  assert.match(outcome.failed.hint, /"workers"/);
});

const TYPESCRIPT = Boolean(process.features.typescript);
test('a TypeScript module serves where Node runs it', { skip: !TYPESCRIPT && 'this Node runs no TypeScript' }, async (t) => {
  const front = await serve(t, {
    name: 'a.mts',
    source: `const text: string = 'typed';\nexport default { fetch(request: Request): Response { return new Response(text); } };`,
  });
  assert.equal((await front.fetch()).text, 'typed');
});
