'use strict';
// Handlers of the form `export default { fetch(request, server) }`.

const assert = require('node:assert/strict');
const { test } = require('node:test');

const { WINDOW, serve } = require('./fake-front.js');

const handler = (body, top = '') => ({
  name: 'a.mjs',
  source: `${top}\nexport default { async fetch(request, server) {\n${body}\n} };`,
});

/** Answers with what an expression about the request comes to, as JSON. */
const ask = (expression) => handler(`return Response.json(await (async () => (${expression}))() ?? null);`);

const POST = { method: 'POST', headers: [['Host', 'test.example'], ['Content-Type', 'application/json'], ['X-Many', 'a'], ['x-many', 'b']] };

const REQUEST = [
  ['method and url', `[request.method, request.url]`, { target: '/a/b?c=d' }, ['GET', 'http://test.example/a/b?c=d']],
  ['https', `request.url`, { scheme: 1 }, 'https://test.example/'],
  ['a port', `request.url`, { headers: [['host', 'test.example:8080']] }, 'http://test.example:8080/'],
  ['the default port', `request.url`, { headers: [['host', 'TEST.example:80']] }, 'http://test.example/'],
  ['dot segments', `request.url`, { target: '/a/../b/%2e%2E/c' }, 'http://test.example/c'],
  ['characters to escape', `request.url`, { target: `/a"b<c>?d'e` }, `http://test.example/a%22b%3Cc%3E?d%27e`],
  ['two slashes', `request.url`, { target: '//evil.example/x' }, 'http://test.example//evil.example/x'],
  ['a backslash', `request.url`, { target: '/a\\b' }, 'http://test.example/a/b'],
  ['the asterisk', `request.url`, { method: 'OPTIONS', target: '*' }, 'http://test.example/'],
  ['a host that is none', `request.url`, { headers: [['host', 'a b']] }, 'http://localhost/'],
  ['headers', `[request.headers.get('X-MANY'), request.headers.get('nope'), request.headers.has('host')]`, POST, ['a, b', null, true]],
  ['all headers', `[...request.headers]`, POST, [['content-type', 'application/json'], ['host', 'test.example'], ['x-many', 'a, b']]],
  ['json', `request.json()`, { ...POST, body: '{"a":[1]}' }, { a: [1] }],
  ['text', `request.text()`, { ...POST, body: '\ufeffné' }, 'né'],
  ['no text', `request.text()`, {}, ''],
  ['bytes', `[...await request.bytes()]`, { ...POST, body: 'abc' }, [97, 98, 99]],
  ['arrayBuffer', `(async (b) => [b instanceof ArrayBuffer, b.byteLength])(await request.arrayBuffer())`, { ...POST, body: 'abc' }, [true, 3]],
  ['blob', `(async (b) => [b.size, b.type, await b.text()])(await request.blob())`, { ...POST, body: 'abc' }, [3, 'application/json', 'abc']],
  ['a form', `Object.fromEntries(await request.formData())`, { method: 'POST', headers: [['host', 'x'], ['content-type', 'application/x-www-form-urlencoded']], body: 'a=1&b=%20' }, { a: '1', b: ' ' }],
  ['body and bodyUsed', `(async () => { const before = request.bodyUsed; const t = await request.text(); return [before, request.bodyUsed, t, await request.text().catch((e) => e.name)] })()`, { ...POST, body: 'x' }, [false, true, 'x', 'TypeError']],
  ['no body', `[request.body, request.bodyUsed]`, {}, [null, false]],
  ['a stream', `(async () => { let s = ''; for await (const c of request.body) s += new TextDecoder().decode(c); return [s, request.bodyUsed] })()`, { ...POST, body: 'xyz' }, ['xyz', true]],
  ['instanceof', `[request instanceof Request, new Response() instanceof Response, request.headers instanceof Headers, request instanceof Response, {} instanceof Response]`, {}, [true, true, true, false, false]],
  ['a Request from it', `(async () => { const r = new Request(request); return [r.method, r.url, await r.text(), r.headers.get('x-many'), r instanceof Request] })()`, { ...POST, body: 'x' }, ['POST', 'http://test.example/', 'x', 'a, b', true]],
  ['a Request from it with another body', `(async () => { const r = new Request(request, { body: 'y' }); return [r.method, await r.text()] })()`, { ...POST, body: 'x' }, ['POST', 'y']],
  ['a clone', `(async () => { const c = request.clone(); return [await c.text(), await request.text(), c instanceof Request] })()`, { ...POST, body: 'xy' }, ['xy', 'xy', true]],
  ['a clone after use', `(async () => { await request.text(); try { request.clone() } catch (e) { return e.name } })()`, { ...POST, body: 'xy' }, 'TypeError'],
  ['what it is otherwise', `[request.mode, request.credentials, request.redirect, request.cache, request.duplex, request.signal.aborted, request.destination, request.referrer]`, {}, ['cors', 'same-origin', 'follow', 'default', 'half', false, '', 'about:client']],
  ['the client', `server.requestIP(request)`, {}, { address: '192.0.2.7', family: 'IPv4', port: 50123 }],
  ['a subclass of Request', `(async () => { class R extends Request {}; const r = new R('http://a/'); return [r instanceof R, r instanceof Request, request instanceof R] })()`, {}, [true, true, false]],
  ['JSON that is none', `request.json().catch((e) => e.name)`, { ...POST, body: '{' }, 'SyntaxError'],
];
for (const [what, expression, request, expected] of REQUEST) {
  test(`a request has ${what}`, async (t) => {
    const front = await serve(t, ask(expression));
    const exchange = await front.fetch(request);
    assert.equal(exchange.reset, null);
    assert.deepEqual(JSON.parse(exchange.text), expected);
  });
}

const RESPONSES = [
  ['a string', `new Response('é')`, 200, [['content-type', 'text/plain;charset=UTF-8']], 'é'],
  ['nothing', `new Response()`, 200, [], ''],
  ['null', `new Response(null, { status: 204 })`, 204, [], ''],
  ['bytes', `new Response(new Uint8Array([104, 105]))`, 200, [], 'hi'],
  ['a DataView', `new Response(new DataView(new TextEncoder().encode('hi').buffer))`, 200, [], 'hi'],
  ['an ArrayBuffer', `new Response(new TextEncoder().encode('hi').buffer)`, 200, [], 'hi'],
  ['a Blob', `new Response(new Blob(['hi'], { type: 'a/b' }))`, 200, [['content-type', 'a/b']], 'hi'],
  ['URLSearchParams', `new Response(new URLSearchParams({ a: 'b c' }))`, 200, [['content-type', 'application/x-www-form-urlencoded;charset=UTF-8']], 'a=b+c'],
  ['a stream', `new Response(new ReadableStream({ start(c) { c.enqueue(new TextEncoder().encode('hi')); c.close() } }))`, 200, [], 'hi'],
  ['an async generator', `new Response((async function* () { yield new TextEncoder().encode('h'); yield new TextEncoder().encode('i') })())`, 200, [], 'hi'],
  ['a number', `new Response(5)`, 200, [['content-type', 'text/plain;charset=UTF-8']], '5'],
  ['status and headers', `new Response('x', { status: 404, statusText: 'Gone Fishing', headers: { 'X-A': ' 1 ', 'content-type': 'a/b' } })`, 404, [['x-a', '1'], ['content-type', 'a/b']], 'x'],
  ['pairs of headers', `new Response(null, { headers: [['set-cookie', 'a=1'], ['set-cookie', 'b=2']] })`, 200, [['set-cookie', 'a=1'], ['set-cookie', 'b=2']], ''],
  ['a Headers object', `new Response(null, { headers: new Headers({ a: 'b' }) })`, 200, [['a', 'b']], ''],
  ['headers changed later', `(() => { const r = new Response('x'); r.headers.set('Content-Type', 'a/b'); r.headers.append('set-cookie', 'a'); r.headers.append('set-cookie', 'b'); r.headers.delete('nope'); return r })()`, 200, [['content-type', 'a/b'], ['set-cookie', 'a'], ['set-cookie', 'b']], 'x'],
  ['json', `Response.json({ a: 1 }, { status: 201 })`, 201, [['content-type', 'application/json']], '{"a":1}'],
  ['a redirect', `Response.redirect('http://a/b', 307)`, 307, [['location', 'http://a/b']], ''],
  ['a clone', `(() => { const r = new Response('x', { headers: { a: 'b' } }); return r.clone() })()`, 200, [['a', 'b'], ['content-type', 'text/plain;charset=UTF-8']], 'x'],
  ['a response of whom others have looked at the body', `(() => { const r = new Response('x'); r.body; return r })()`, 200, [['content-type', 'text/plain;charset=UTF-8']], 'x'],
  ['a response around the body of another', `new Response(new Response('x').body, { headers: { a: 'b' } })`, 200, [['a', 'b']], 'x'],
  ['a response like another', `new Response('x', new Response(null, { status: 202, headers: { a: 'b' } }))`, 202, [['a', 'b'], ['content-type', 'text/plain;charset=UTF-8']], 'x'],
  ['a subclass', `new (class Page extends Response { constructor(text) { super(text, { headers: { 'content-type': 'text/html' } }) } })('x')`, 200, [['content-type', 'text/html']], 'x'],
  ['a subclass with properties of its own', `new (class Api extends Response { constructor() { super('x'); this.code = 'E1'; this.content = {}; this.pairs = 1; this.real = 2; this.used = true } })()`, 200, [['content-type', 'text/plain;charset=UTF-8']], 'x'],
  ["Node's own", `fetch('data:text/plain,hi')`, 200, [['content-type', 'text/plain']], 'hi'],
  ['a large string', `new Response('é'.repeat(300000), { headers: { 'content-type': 'a/b' } })`, 200, [['content-type', 'a/b']], 'é'.repeat(300000)],
];
for (const [what, expression, status, fields, body] of RESPONSES) {
  test(`a response can be ${what}`, async (t) => {
    const front = await serve(t, handler(`return ${expression};`));
    const exchange = await front.fetch();
    assert.equal(exchange.reset, null, exchange.reset?.text);
    assert.equal(exchange.status, status);
    assert.deepEqual(exchange.fields, fields);
    assert.equal(exchange.text, body);
    assert.equal(exchange.ended, true);
  });
}

test('a response answers about itself as the standard says', async (t) => {
  const front = await serve(t, ask(`(async () => {
    const fails = (run) => { try { run(); return 'nothing' } catch (e) { return e.name } };
    const r = new Response('{"a":1}', { status: 201, statusText: 'Made' });
    const used = new Response('x'); await used.text();
    const streamed = new Response('ab'); const reader = streamed.body.getReader(); const { value } = await reader.read();
    return {
      seen: [r.status, r.ok, r.statusText, r.type, r.url, r.redirected, r.bodyUsed, String(r)],
      json: await r.json(), used: [used.bodyUsed, await used.text().catch((e) => e.name)],
      streamed: [new TextDecoder().decode(value), streamed.bodyUsed],
      error: [Response.error().status, Response.error().type],
      fails: [
        fails(() => new Response('x', { status: 99 })), fails(() => new Response('x', { status: 600 })), fails(() => new Response('x', { status: 204 })),
        fails(() => new Response('x', { statusText: 'a\\nb' })), fails(() => new Response('x', { headers: { 'a b': 'c' } })),
        fails(() => new Response('x', { headers: { a: 'b\\nc' } })), fails(() => new Response('x', { headers: { a: 'ы' } })),
        fails(() => new Response('x', { headers: [['a']] })), fails(() => new Response('x', 5)), fails(() => Response.json(undefined)),
        fails(() => Response.redirect('/relative')), fails(() => Response.redirect('http://a/', 200)), fails(() => used.clone()),
      ],
      form: Object.fromEntries(await new Response(new URLSearchParams('a=1')).formData()),
      bytes: (await new Response(new Uint8Array([1, 2])).arrayBuffer()).byteLength,
      blob: (await new Response('x', { headers: { 'content-type': 'a/b' } }).blob()).type,
      instance: [new Response() instanceof Response, (await fetch('data:,x')) instanceof Response],
    };
  })()`));
  const exchange = await front.fetch();
  assert.equal(exchange.reset, null, exchange.reset?.text);
  assert.deepEqual(JSON.parse(exchange.text), {
    seen: [201, true, 'Made', 'default', '', false, false, '[object Response]'],
    json: { a: 1 }, used: [true, 'TypeError'], streamed: ['ab', true], error: [0, 'error'],
    fails: ['RangeError', 'RangeError', 'TypeError', 'TypeError', 'TypeError', 'TypeError', 'TypeError', 'TypeError', 'TypeError', 'TypeError', 'TypeError', 'RangeError', 'TypeError'],
    form: { a: '1' }, bytes: 2, blob: 'a/b', instance: [true, true],
  });
});

const MISTAKES = [
  ['throws', `throw new RangeError('boom')`, /RangeError: boom/],
  ['returns nothing', ``, /fetch\(GET \/\) returned undefined, which is no Response/],
  ['returns text', `return 'hi'`, /returned 'hi', which is no Response/],
  ['returns an error response', `return Response.error()`, /returned Response\.error\(\)/],
  ['returns a used response', `const r = new Response('x'); await r.text(); return r`, /whose body has been read/],
  ['returns a locked response', `const r = new Response('x'); r.body.getReader(); return r`, /whose body has been read/],
  ['returns a stream of text', `return new Response(new ReadableStream({ start(c) { c.enqueue('x') } }))`, /gave 'x', which is no Uint8Array|Uint8Array/],
  ['returns a stream that fails', `return new Response(new ReadableStream({ pull(c) { throw new Error('dry') } }))`, /Error: dry/],
];
for (const [what, body, text] of MISTAKES) {
  test(`a handler that ${what} resets its stream with the reason`, async (t) => {
    const front = await serve(t, handler(`if (request.url.endsWith('/ok')) return new Response('ok');\n${body};`));
    const exchange = await front.fetch();
    assert.equal(exchange.reset?.code, 2);
    assert.match(exchange.reset.text, text);
    assert.equal((await front.fetch({ target: '/ok' })).text, 'ok');
  });
}

test('HEAD has no body and keeps its fields', async (t) => {
  const front = await serve(t, handler(`return new Response(request.url.endsWith('s') ? new Blob(['hello']).stream() : 'hello', { headers: { 'content-length': '5' } })`));
  for (const target of ['/text', '/s']) {
    const exchange = await front.fetch({ method: 'HEAD', target });
    assert.equal(exchange.header('content-length'), '5');
    assert.equal(exchange.bytes, 0);
  }
});

test('a streamed response waits for credit and is cancelled with its client', async (t) => {
  const front = await serve(t, handler(`
    if (request.url.endsWith('/state')) { await until; return Response.json(state); }
    return new Response(new ReadableStream({
      pull(controller) { state.pulled++; controller.enqueue(new Uint8Array(65536)); },
      cancel(reason) { state.cancelled = reason.name; settle(); },
    }));`, `const state = { pulled: 0, cancelled: null }; let settle; const until = new Promise((r) => (settle = r));`));
  const exchange = front.request({}, { autoCredit: false });
  await exchange.until(({ bytes }) => bytes === WINDOW);
  exchange.cancel();
  const state = JSON.parse((await front.fetch({ target: '/state' })).text);
  assert.equal(state.cancelled, 'AbortError');
  assert.ok(state.pulled < 10, `pulled ${state.pulled} chunks of 64 KiB with a window of 256 KiB`);
});

test('a long upload streams through with backpressure', async (t) => {
  const front = await serve(t, handler(`
    if (request.url.endsWith('/echo')) return new Response(request.body);
    let bytes = 0;
    for await (const chunk of request.body) bytes += chunk.length;
    return new Response(String(bytes));`));
  const counted = front.request({ method: 'POST' }, { end: false });
  await counted.upload(Buffer.alloc(20_000_000));
  assert.equal((await counted.settled()).text, '20000000');
  const body = Buffer.alloc(5_000_000, 'abcdefg');
  const echo = front.request({ method: 'POST', target: '/echo' }, { end: false });
  await echo.upload(body);
  assert.ok((await echo.settled()).body.equals(body));
});

test('a body that is not read stays with the client', async (t) => {
  const front = await serve(t, handler(`
    if (request.url.endsWith('/go')) { go(); return new Response(); }
    await wait;
    return new Response('no');`, `let go; const wait = new Promise((resolve) => (go = resolve));`));
  const exchange = front.request({ method: 'POST' }, { end: false });
  void exchange.upload(Buffer.alloc(WINDOW * 2));
  await exchange.until(({ sendCredit }) => sendCredit === 0);
  await front.fetch({ target: '/go' });
  await exchange.until(({ reset }) => reset !== null);
  assert.equal(exchange.text, 'no');
  assert.equal(exchange.credited, 0);
  assert.equal(exchange.reset.code, 0);
});

for (const how of ['request.text()', 'request.body.getReader().read()']) {
  test(`${how} after the response fails for the part that has not come`, async (t) => {
    const front = await serve(t, handler(`
      if (request.url.endsWith('/seen')) return new Response(await seen);
      setTimeout(() => ${how}.then(() => settle('read'), (error) => settle(error.name)), 20);
      return new Response('early');`, `let settle; const seen = new Promise((resolve) => (settle = resolve));`));
    const exchange = front.request({ method: 'POST' }, { end: false });
    await exchange.until(({ reset }) => reset !== null);
    assert.equal((await front.fetch({ target: '/seen' })).text, 'AbortError');
  });
}

test('a collected upload arrives whole', async (t) => {
  const front = await serve(t, handler(`return new Response(String((await request.arrayBuffer()).byteLength));`));
  const exchange = front.request({ method: 'POST' }, { end: false });
  await exchange.upload(Buffer.alloc(3_000_000));
  assert.equal((await exchange.settled()).text, '3000000');
});

test('the signal aborts and the body fails when the client goes away', async (t) => {
  const front = await serve(t, handler(`
    if (request.url.endsWith('/seen')) { await all; return Response.json(seen); }
    request.signal.addEventListener('abort', () => { seen.push('aborted'); setImmediate(settle); });
    try { await request.text(); } catch (error) { seen.push(error.name); }
    await new Promise((resolve) => setImmediate(resolve));
    return new Response('nobody hears');`, `const seen = []; let settle; const all = new Promise((r) => (settle = r));`));
  const exchange = front.request({ method: 'POST', body: 'part' }, { end: false });
  await front.ping('read');
  exchange.cancel();
  assert.deepEqual(JSON.parse((await front.fetch({ target: '/seen' })).text).sort(), ['AbortError', 'aborted']);
});

test('a small handler loads no undici', { skip: !process.versions.node.startsWith('20.') }, async (t) => {
  const front = await serve(t, handler(`
    const text = new URL(request.url).pathname + request.headers.get('host');
    if (request.url.endsWith('/loaded')) return Response.json(process.moduleLoadList.filter((name) => name.includes('undici')));
    return new Response(text, { headers: { a: 'b' } });`));
  assert.equal((await front.fetch()).text, '/test.example');
  assert.deepEqual(JSON.parse((await front.fetch({ target: '/loaded' })).text), []);
});

test('a program that serves node:http keeps the globals of Node', async (t) => {
  const front = await serve(t, {
    name: 'a.js',
    source: `require('http').createServer((req, res) => res.end([Request, Response, Headers, fetch].map((f) => String(f).includes('LeanRe')).join())).listen(0)`,
  });
  assert.equal((await front.fetch()).text, 'false,false,false,false');
});

test('classes kept from before the handler was served still serve', async (t) => {
  const front = await serve(t, handler(
    `return new (request.url.endsWith('s') ? Sub : Kept)('x', { headers: [['a', 'b'], ['set-cookie', 'c'], ['set-cookie', 'd']] });`,
    `const Kept = Response; class Sub extends Response {}`,
  ));
  for (const target of ['/', '/s']) {
    const exchange = await front.fetch({ target });
    assert.deepEqual([exchange.status, exchange.text, exchange.header('a'), exchange.headers('set-cookie')], [200, 'x', 'b', ['c', 'd']]);
  }
});
