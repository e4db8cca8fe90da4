'use strict';
// Frameworks as their registries have them, each with a small application that knows nothing of Bireme.

const assert = require('node:assert/strict');
const { spawnSync } = require('node:child_process');
const { before, describe, test } = require('node:test');
const path = require('node:path');

const { bridge } = require('./bridge.js');
const { serve } = require('./fake-front.js');

const apps = path.join(__dirname, 'apps');
const JSON_POST = (body) => ({ method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) });

async function start(t, app, settings) {
  const front = await serve(t, path.join(apps, app), { cwd: apps, ...settings });
  const bridged = await bridge(front);
  t.after(() => bridged.close());
  return { front, get: (target, options) => fetch(bridged.url + target, options) };
}

const FRAMEWORKS = [
  ['Express 5', 'express5.js', {}, 'http'],
  ['Express 4', 'express5.js', { env: { EXPRESS: 'express4' } }, 'http'],
  ['Fastify 5', 'fastify.js', {}, 'http'],
  ['Koa', 'koa.js', {}, 'http'],
  ['Hono, as default { fetch }', 'hono.mjs', {}, 'fetch'],
  ['Hono on @hono/node-server', 'hono.mjs', { args: ['server'] }, 'http'],
  ['NestJS', 'nest.js', {}, 'http'],
];
for (const [name, app, settings, kind] of FRAMEWORKS) {
  test(name, async (t) => {
    const { front, get } = await start(t, app, settings);
    assert.equal(front.ready.kind, kind);
    assert.equal(await (await get('/hello')).text(), 'hello');
    const json = await get('/json?q=a%20b');
    assert.match(json.headers.get('content-type'), /^application\/json/);
    const { hello, q, ip } = await json.json();
    assert.deepEqual([hello, q], ['world', 'a b']);
    if (ip !== undefined) assert.equal(ip, '192.0.2.7');
    const body = { list: [1, 'two', { three: 3 }], long: 'é'.repeat(40_000) };
    assert.deepEqual(await (await get('/echo', JSON_POST(body))).json(), body);
    assert.equal(await (await get('/stream')).text(), 'one two three');
    assert.equal((await get('/missing')).status, 404);
    assert.equal((await get('/boom')).status, 500);
    const head = await get('/hello', { method: 'HEAD' });
    assert.deepEqual([head.status, await head.text()], [200, '']);
    const many = await Promise.all(Array.from({ length: 100 }, (_, i) => get(`/json?q=${i}`).then((response) => response.json())));
    assert.deepEqual(many.map((answer) => Number(answer.q)), Array.from({ length: 100 }, (_, i) => i));
    assert.deepEqual(await front.drain(), { code: name === 'NestJS' ? null : 0, signal: name === 'NestJS' ? 'SIGTERM' : null });
    if (name === 'NestJS') assert.match(front.output, /nest closed/);
  });
}

for (const version of ['express', 'express4']) {
  test(`${version} with compression, sessions, morgan, sendFile and routers`, async (t) => {
    const { front, get } = await start(t, 'express5.js', { env: { EXPRESS: version } });
    const large = await get('/large');
    assert.match(large.headers.get('content-encoding'), /gzip|br/);
    assert.equal(await large.text(), 'large '.repeat(1000));
    assert.match(large.headers.get('set-cookie'), /^connect\.sid=/);
    const file = await get('/file');
    assert.match(await file.text(), /Express with the middleware/);
    const again = await get('/file', { headers: { 'if-none-match': file.headers.get('etag'), 'cache-control': 'max-age=0' } });
    assert.equal(again.status, 304);
    const part = await get('/file', { headers: { range: 'bytes=1-10', 'accept-encoding': 'identity' } });
    assert.deepEqual([part.status, (await part.text()).length], [206, 10]);
    assert.equal(await (await get('/nested/5')).text(), '/nested 5');
    assert.equal((await get('/echo', { ...JSON_POST({}), body: '{' })).status, 400);
    const forwarded = await get('/json', { headers: { 'x-forwarded-for': '203.0.113.9', 'x-forwarded-proto': 'https' } });
    assert.deepEqual(await forwarded.json(), { hello: 'world', ip: '203.0.113.9', secure: true, host: '127.0.0.1' });
    await front.ping('log');
    assert.match(front.output, /GET \/large 200 192\.0\.2\.7/);
    assert.match(front.output, /GET \/file 304/);
  });
}

describe('Next', () => {
  const folder = path.join(apps, 'next');
  const cli = require.resolve('next/dist/bin/next');
  before(() => {
    // Turbopack refuses packages that a link leads to, which is how cargo xtask installs them.
    const built = spawnSync(process.execPath, [cli, 'build', '--webpack'], {
      cwd: folder,
      env: { ...process.env, NEXT_TELEMETRY_DISABLED: '1', NODE_ENV: 'production' },
      encoding: 'utf8',
    });
    assert.equal(built.status, 0, `next build: ${built.stdout}\n${built.stderr}`);
  });

  test('a production build serves pages, streams, routes and its own assets', async (t) => {
    const front = await serve(t, cli, { cwd: folder, args: ['start'], env: { NEXT_TELEMETRY_DISABLED: '1', NODE_ENV: 'production' } });
    const bridged = await bridge(front);
    t.after(() => bridged.close());
    const page = await (await fetch(`${bridged.url}/`)).text();
    assert.match(page, /hello from next/);
    const streamed = await (await fetch(`${bridged.url}/page2`)).text();
    assert.match(streamed, /host (<!-- -->)?127\.0\.0\.1/);
    assert.match(streamed, /slow part/);
    const echo = await (await fetch(`${bridged.url}/api/echo`, JSON_POST({ a: 1 }))).json();
    assert.deepEqual(echo.got, { a: 1 });
    const script = /src="(\/_next\/static\/[^"]+\.js)"/.exec(page)[1];
    const asset = await fetch(bridged.url + script);
    assert.equal(asset.status, 200);
    assert.match(asset.headers.get('content-type'), /javascript/);
    assert.ok((await asset.text()).length > 100);
    assert.equal((await fetch(`${bridged.url}/nope`)).status, 404);
  });
});
