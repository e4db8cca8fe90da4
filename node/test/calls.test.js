'use strict';
// Calls between two processes, and every way in which one can end. Both sides are this runtime's; tests/e2e/test_calls.py
// has the two languages.

const assert = require('node:assert/strict');
const { after, before, test } = require('node:test');
const { setTimeout: delay } = require('node:timers/promises');

const { FakeBroker } = require('./fake-broker.js');

const FUNCTIONS = `
  import { idempotent, signal } from 'bireme';
  import { writeFileSync } from 'node:fs';
  export const VERSION = '1.2';
  export const add = (a, b) => a + b;
  export const echo = (...args) => args;
  export const later = async (x) => { await null; return x; };
  export const boom = () => { throw Object.assign(new RangeError('too far'), { status: 416 }); };
  export const boomLater = async () => { await null; throw new TypeError('no', { cause: new Error('why') }); };
  export const pid = () => process.pid;
  export const never = () => new Promise(() => {});
  export const die = () => process.exit(3);
  export const dieOnce = (file) => { try { writeFileSync(file, '', { flag: 'wx' }); } catch { return process.pid; } process.exit(3); };
  export const dieOnceMarked = idempotent((file) => dieOnce(file));
  export const untilAborted = async (onEnd) => {
    const running = signal();
    await new Promise((resolve) => running.addEventListener('abort', resolve));
    onEnd(running.reason.code);
  };
  export function* count(n) { for (let i = 0; i < n; i++) yield i; }
  let produced = 0, closed = 0;
  export async function* endless(size = 1000) { try { for (;;) { produced++; yield 'x'.repeat(size); } } finally { closed++; } }
  export const seen = () => ({ produced, closed });
  export async function* fails() { yield 1; yield 2; throw new RangeError('midway'); }
  export async function* slow() { yield 'first'; await new Promise(() => {}); }
  export async function* stopped(onEnd) {
    const running = signal();
    yield 'first';
    await new Promise((resolve) => running.addEventListener('abort', resolve));
    onEnd(running.reason.code);
  }
  export const apply = (f, ...args) => f(...args);
  export const applyAll = async (f, n) => { let sum = 0; for (let i = 0; i < n; i++) sum += await f(i); return sum; };
  let kept = null;
  export const keep = (f) => { kept = f; };
  export const callKept = (...args) => kept(...args);
  export const drop = () => { kept = null; globalThis.gc(); };
  export const streams = { rows: (n) => ({ title: 'rows', rows: count(n) }) };
  export const consume = async (items) => { const all = []; for await (const item of items) all.push(item); return all; };
  export class Counter {
    constructor(start) { this.n = start; }
    static from(text) { return new Counter(Number(text)); }
    add(k) { this.n += k; return this.n; }
    self() { return this; }
    boom() { throw new Error('in a method'); }
    *upTo(n) { while (this.n < n) yield this.n++; }
  }
  export const isCounter = (x) => x instanceof Counter;
  export const unserializable = () => ({ deep: [Symbol('s')] });
  export const depth = async (f, n) => n === 0 ? 0 : 1 + await f(n - 1);
`;

let broker;
let functions;
let bireme;

before(async () => {
  broker = await new FakeBroker().start();
  Object.assign(process.env, broker.environment);
  bireme = require('../src/bireme.js');
  await broker.worker('calls', { args: ['--expose-gc'] });
  functions = moduleOf(broker.write('functions.mjs', FUNCTIONS));
});

after(() => broker.stop());

const moduleOf = (file) => require('../src/calls/python.js').pythonFile(file);

/** A service of its own, with workers that may be killed. */
async function service(name, workers = 1, source = FUNCTIONS) {
  const file = broker.write(`${name}/functions.mjs`, source);
  const started = [];
  for (let i = 0; i < workers; i++) started.push(await broker.worker(name));
  return { functions: moduleOf(file), workers: started, file };
}

/** Waits for what another process makes true, asking it again and again. */
async function until(check) {
  for (;;) {
    const value = await check();
    if (value) return value;
    await delay(5);
  }
}

const clientService = (name) => require('../src/calls/client.js').theClient().services.get(name);

/** What this process still holds of calls. */
function held() {
  const { theClient } = require('../src/calls/client.js');
  const client = theClient();
  let [calls, incoming] = [client.waiting.size, 0];
  for (const { workers } of client.services.values()) {
    for (const { link } of workers) {
      if (link === null) continue;
      calls += link.calls.size;
      incoming += link.incoming.size;
    }
  }
  return { calls, incoming };
}

const collect = async (items) => {
  const all = [];
  for await (const item of items) all.push(item);
  return all;
};

test('functions are called, however they are exported', async () => {
  assert.equal(await functions.add(1, 2), 3);
  assert.equal(await functions.later('x'), 'x');
  assert.deepEqual(await functions.echo(null, undefined, [1n << 70n]), [null, undefined, [1n << 70n]]);
  const common = moduleOf(broker.write('common.cjs', `
    exports.plain = () => 'plain'; const hidden = 'computed'; exports[hidden + 'Name'] = function () { return this === exports; };`));
  assert.equal(await common.plain(), 'plain');
  assert.equal(await common.computedName(), true);
  const whole = moduleOf(broker.write('whole.mjs', 'export default (x) => x * 2; export const nested = { deep: { f: () => 1 } };'));
  assert.equal(await whole.default(4), 8);
  assert.equal(await whole.nested.deep.f(), 1);
});

test('a value is had without a call', async () => {
  assert.equal(await bireme.value(functions.VERSION), '1.2');
  await assert.rejects(functions.VERSION(), { name: 'TypeError', message: /is a string, not a function/ });
});

test('keywords come as a last object', async () => {
  assert.deepEqual(await functions.echo.with({ kwargs: { top: 3 } })(1), [1, { top: 3 }]);
});

test('a module is found by its name', async () => {
  broker.write('node_modules/doubling/index.js', 'exports.double = (x) => x * 2;');
  assert.equal(await bireme.python('doubling', { service: 'calls' }).double(4), 8);
  assert.equal(await bireme.python('node:os').EOL.with({})().catch((error) => error.name), 'TypeError');
});

const MISSING = [
  ['a file', () => moduleOf(`${broker.folder}/none.mjs`).f(), /there is no file .*none\.mjs/],
  ['a module', () => bireme.python('nonesuch').f(), /there is no module nonesuch/],
  ['a function', () => functions.subtract(), /functions\.mjs has no subtract; it exports Counter, VERSION, add/],
  ['a function of a function', () => functions.add.further(), /has no add\.further/],
];
for (const [what, call, message] of MISSING) {
  test(`${what} that is not there is a clear error`, async () => {
    await assert.rejects(call(), (error) => {
      assert.ok(error instanceof bireme.CallTargetNotFound && error instanceof bireme.CallError);
      assert.equal(error.code, 'BIREME_NOT_FOUND');
      assert.match(error.message, message);
      return true;
    });
  });
}

test('a module that cannot be loaded says why, and is tried again', async () => {
  const file = broker.write('broken.mjs', 'throw new RangeError("at load");');
  await assert.rejects(moduleOf(file).f(), { name: 'RangeError', message: 'at load' });
  await assert.rejects(moduleOf(broker.write('syntax.mjs', 'export const = 1')).f(), { name: 'SyntaxError' });
});

test('errors have the frames of both sides, with their lines', async () => {
  async function outermost() {
    return await functions.boom(1);
  }
  await assert.rejects(outermost(), (error) => {
    assert.ok(error instanceof RangeError);
    assert.equal(error.message, 'too far');
    assert.equal(error.status, 416);
    const stack = error.stack.split('\n');
    assert.equal(stack[0], 'RangeError: too far');
    const own = stack.findIndex((line) => line.includes('outermost'));
    const theirs = stack.findIndex((line) => line.includes('functions.mjs'));
    assert.ok(theirs > 0 && own > theirs, error.stack);
    assert.match(stack[theirs + 1], /throw Object\.assign/);
    assert.match(stack[own + 1], /return await functions\.boom\(1\)/);
    assert.match(error.remoteStack, /^RangeError: too far/);
    const names = error.frames.map(([file]) => file);
    assert.ok(names.indexOf(__filename) < names.findIndex((name) => name.endsWith('functions.mjs')));
    return true;
  });
  await assert.rejects(functions.boomLater(), (error) => error instanceof TypeError && error.cause.message === 'why');
});

test('what cannot cross is an error of the caller alone, in both directions', async () => {
  await assert.rejects(functions.add({ user: { lock: new WeakMap() } }), { name: 'CannotCross', message: /^args\[0\]\.user\.lock: WeakMap cannot cross/ });
  await assert.rejects(functions.unserializable(), { name: 'CannotCross', message: /^result\.deep\[0\]: symbol cannot cross/ });
  assert.equal(await functions.add(1, 1), 2);
});

test('messages of many frames, up to the limit', async () => {
  const text = 'é'.repeat(1_500_000);
  const [back] = await functions.echo(text);
  assert.ok(back === text);
  const numbers = new Float64Array(700_000).fill(1.5);
  const [array] = await functions.echo(numbers);
  assert.deepEqual(array, numbers);
  const small = broker.options.message_bytes_max;
  broker.options.message_bytes_max = 1000;
  try {
    const limited = await service('limited');
    await assert.rejects(limited.functions.echo('x'.repeat(2000)), { name: 'CannotCross', code: 'BIREME_TOO_LARGE' });
    assert.deepEqual(await limited.functions.echo('x'), ['x']);
  } finally {
    broker.options.message_bytes_max = small;
  }
});

// How a call can end.

test('the deadline passes: both sides know', async () => {
  let code;
  const ended = new Promise((resolve) => {
    code = resolve;
  });
  await assert.rejects(functions.untilAborted.with({ timeout: 50 })(code), (error) => {
    assert.ok(error instanceof bireme.CallTimeout);
    assert.match(error.message, /untilAborted of .* did not answer within 50 ms/);
    return true;
  });
  assert.equal(await ended, 'BIREME_CALL_TIMEOUT');
});

test('an AbortSignal cancels the running function', async () => {
  const controller = new AbortController();
  let code;
  const ended = new Promise((resolve) => {
    code = resolve;
  });
  const call = functions.untilAborted.with({ signal: controller.signal })(code);
  await functions.add(1, 1);
  controller.abort();
  await assert.rejects(call, { name: 'AbortError' });
  assert.equal(await ended, 'BIREME_CALL_CANCELLED');
  await assert.rejects(functions.add.with({ signal: controller.signal })(1, 1), { name: 'AbortError' });
  const reason = new Error('enough');
  await assert.rejects(functions.add.with({ signal: AbortSignal.abort(reason) })(1, 1), reason);
});

test('a worker that dies in a call: the outcome is unknown', async () => {
  const { functions } = await service('dying');
  await assert.rejects(functions.die(), (error) => {
    assert.ok(error instanceof bireme.WorkerLost);
    assert.equal(error.started, 'unknown');
    assert.match(error.message, /dying#\d+ ended during a call of die/);
    return true;
  });
});

test('a worker that dies in an idempotent call: another one does it', async () => {
  const { functions, workers } = await service('twice', 2);
  const answered = await functions.dieOnce.with({ idempotent: true })(`${broker.folder}/died`);
  const left = workers.find((worker) => worker.child.exitCode === null && worker.child.signalCode === null);
  assert.equal(answered, left.child.pid);
});

test('a function that is marked is called again, unless its caller says otherwise', async () => {
  const { functions } = await service('marked', 3);
  await assert.rejects(functions.dieOnceMarked.with({ idempotent: false })(`${broker.folder}/marked-once`), bireme.WorkerLost);
  assert.ok((await functions.dieOnceMarked(`${broker.folder}/marked-twice`)) > 0);
  assert.throws(() => bireme.idempotent(1), TypeError);
});

test('settings hold for what a worker answers, and for its calls of callbacks', async () => {
  const name = 'strict';
  const file = broker.write(`${name}/functions.mjs`, FUNCTIONS);
  const self = JSON.stringify({ service: name, root: broker.folder, timeout_ms: 50, message_bytes_max: 1000 });
  await broker.worker(name, { env: { BIREME_SELF: self } });
  const strict = moduleOf(file);
  assert.deepEqual(await strict.echo('x'.repeat(500)), ['x'.repeat(500)]);
  await assert.rejects(strict.apply(() => 'x'.repeat(500)).then((text) => strict.echo(text, text, text)), { code: 'BIREME_TOO_LARGE' });
  await assert.rejects(strict.apply(() => new Promise(() => {})), { code: 'BIREME_CALL_TIMEOUT' });
});

test('a worker that dies before a call has begun: another one does it', async () => {
  const source = `
    import { existsSync, writeFileSync } from 'node:fs';
    if (!existsSync('${'$'}{folder}/begun')) { writeFileSync('${'$'}{folder}/begun', ''); process.exit(3); }
    export const pid = () => process.pid;`.replaceAll('${folder}', broker.folder);
  const { functions } = await service('loading', 2, source);
  assert.ok((await functions.pid()) > 0);
});

test('calls wait for a worker while there is none, and are cancelled there like anywhere', async () => {
  const { functions, workers } = await service('returning');
  const first = await functions.pid();
  workers[0].child.kill('SIGKILL');
  // Until this process has heard of it, too.
  await until(() => clientService('returning').workers.length === 0);
  await assert.rejects(functions.pid.with({ timeout: 30 })(), { name: 'CallTimeout' });
  const controller = new AbortController();
  const aborted = functions.pid.with({ signal: controller.signal })();
  const waiting = functions.pid();
  controller.abort();
  await assert.rejects(aborted, { name: 'AbortError' });
  await broker.worker('returning');
  assert.notEqual(await waiting, first);
});

test('more calls than may be under way are refused at once', async () => {
  const before = broker.options.in_flight_max;
  broker.options.in_flight_max = 3;
  try {
    const { functions } = await service('busy');
    await functions.add(1, 1);
    const controller = new AbortController();
    const calls = [1, 2, 3].map(() => functions.never.with({ signal: controller.signal })());
    await assert.rejects(functions.add(1, 1), (error) => error instanceof bireme.ServiceBusy && error.code === 'BIREME_SERVICE_BUSY');
    controller.abort();
    await Promise.allSettled(calls);
    assert.equal(await functions.add(1, 1), 2);
  } finally {
    broker.options.in_flight_max = before;
  }
});

test('a service that cannot be started says why; the next call asks again', async () => {
  broker.refuse = ({ file }) => (file?.includes('unstartable') ? { code: 'BIREME_UNAVAILABLE', message: 'it fails', hint: 'mend it' } : undefined);
  const there = moduleOf(broker.write('unstartable/functions.mjs', FUNCTIONS));
  await assert.rejects(there.add(1, 1), { name: 'CallError', code: 'BIREME_UNAVAILABLE', message: 'it fails; mend it' });
  broker.refuse = undefined;
  assert.equal(await there.add(1, 1), 2);
});

test('calls are spread over the workers of a service', async () => {
  const { functions } = await service('several', 3);
  const pids = new Set(await Promise.all(Array.from({ length: 12 }, () => functions.pid())));
  assert.equal(pids.size, 3);
});

test('sticky calls stay with their worker, and say when it is gone', async () => {
  const { functions, workers } = await service('sticky', 2);
  const key = {};
  const sticky = functions.pid.with({ sticky: key });
  const pids = new Set(await Promise.all(Array.from({ length: 10 }, () => sticky())));
  assert.equal(pids.size, 1);
  const worker = workers.find(({ child }) => pids.has(child.pid));
  worker.child.kill('SIGKILL');
  await worker.exited;
  await until(() => sticky().then(() => false, (error) => error instanceof bireme.WorkerLost));
  assert.notEqual(await sticky(), worker.child.pid);
});

test('a worker that leaves ends its calls, and gets no new ones', async () => {
  const { functions, workers } = await service('leaving', 1);
  let finish;
  const waits = new Promise((resolve) => {
    finish = resolve;
  });
  let begun;
  const running = new Promise((resolve) => {
    begun = resolve;
  });
  const call = functions.apply(async () => {
    begun();
    return waits;
  });
  await running;
  const exit = broker.drain(workers[0]);
  await until(() => clientService('leaving').workers.length === 0);
  const next = functions.pid();
  await broker.worker('leaving');
  assert.notEqual(await next, workers[0].child.pid);
  finish('done');
  assert.equal(await call, 'done');
  assert.deepEqual(await exit, { code: 0, signal: null });
});

// Streams.

test('items come in order, from generators of both kinds and in arguments', async () => {
  assert.deepEqual(await collect(functions.count(5)), [0, 1, 2, 3, 4]);
  assert.deepEqual(await collect(await functions.count(0)), []);
  const many = await collect(functions.count(100_000));
  assert.equal(many.length, 100_000);
  assert.ok(many.every((item, i) => item === i));
  async function* own() {
    yield 'a';
    await null;
    yield 'b';
  }
  assert.deepEqual(await functions.consume(own()), ['a', 'b']);
  const answer = await functions.streams.rows(3);
  assert.equal(answer.title, 'rows');
  assert.deepEqual(await collect(answer.rows), [0, 1, 2]);
});

test('a slow consumer holds the producer, and a break ends it', async () => {
  let taken = 0;
  const before = await functions.seen();
  for await (const item of functions.endless()) {
    assert.equal(item.length, 1000);
    if (++taken === 3) {
      const { produced } = await functions.seen();
      assert.ok(produced - before.produced < 600, `${produced - before.produced} of 1000 bytes are within the window`);
    }
    if (taken === 1000) break;
  }
  await until(async () => (await functions.seen()).closed === before.closed + 1);
});

test('a generator that waits hears by its signal that it is to end', async () => {
  let code;
  const ended = new Promise((resolve) => {
    code = resolve;
  });
  const stream = await functions.stopped(code);
  await stream.next();
  await stream.return();
  assert.equal(await ended, 'BIREME_CALL_CANCELLED');
});

test('items longer than a frame, and than the window', async () => {
  let taken = 0;
  for await (const item of functions.endless(1_400_000)) {
    assert.equal(item.length, 1_400_000);
    if (++taken === 3) break;
  }
  taken = 0;
  for await (const item of functions.endless(200_000)) {
    assert.equal(item.length, 200_000);
    if (++taken === 10) break;
  }
});

test('an error ends a stream where it happened', async () => {
  const got = [];
  await assert.rejects(
    async () => {
      for await (const item of functions.fails()) got.push(item);
    },
    { name: 'RangeError', message: 'midway' },
  );
  assert.deepEqual(got, [1, 2]);
  await assert.rejects(collect(functions.add(1, 2)), /returned no stream/);
});

test('a stream outlives the deadline of its call, is aborted by its signal, and ends with its worker', async () => {
  const controller = new AbortController();
  const stream = await functions.slow.with({ timeout: 20, signal: controller.signal })();
  assert.deepEqual(await stream.next(), { value: 'first', done: false });
  const next = stream.next();
  await delay(40);
  controller.abort();
  await assert.rejects(next, { name: 'AbortError' });
  assert.deepEqual(await stream.next(), { value: undefined, done: true });
  const { functions: dying } = await service('streaming');
  const lost = await dying.slow();
  await lost.next();
  dying.die().catch(() => {});
  await assert.rejects(lost.next(), { name: 'WorkerLost' });
});

// What stays where it is.

test('functions are called back, and nested to any depth', async () => {
  assert.equal(await functions.apply((a, b) => a * b, 6, 7), 42);
  assert.equal(await functions.applyAll(async (i) => i, 100), 4950);
  const there = (n) => functions.depth(there, n);
  assert.equal(await there(30), 30);
});

test('an error of a callback passes through both processes and keeps its frames', async () => {
  class Odd extends Error {}
  await assert.rejects(
    functions.applyAll(() => {
      throw new Odd('from home');
    }, 1),
    (error) => {
      assert.equal(error.type, 'Odd');
      assert.equal(error.message, 'from home');
      assert.ok(error.frames.at(-1)[0] === __filename, error.stack);
      assert.ok(error.frames.some(([file]) => file.endsWith('functions.mjs')), error.stack);
      return true;
    },
  );
});

test('a callback is kept as long as the other side holds it', async () => {
  const callback = (x) => x + 1;
  await functions.keep(callback);
  const { handles } = clientService('calls').workers[0].link;
  assert.ok(handles.numbers.has(callback));
  assert.equal(await functions.callKept(1), 2);
  await until(async () => {
    await functions.drop();
    return !handles.numbers.has(callback);
  });
});

test('instances live in their worker', async () => {
  const counter = await new functions.Counter(5);
  assert.ok(counter instanceof bireme.RemoteObject);
  assert.equal(await counter.add(2), 7);
  assert.equal(await bireme.value(counter.n), 7);
  assert.equal(await functions.isCounter(counter), true);
  assert.deepEqual(await collect(counter.upTo(9)), [7, 8]);
  await assert.rejects(counter.boom(), /in a method/);
  await assert.rejects(counter.nothing(), { name: 'CallTargetNotFound', message: /Counter has no "nothing"/ });
  const made = await new functions.Counter.from('30');
  assert.equal(await made.add(1), 31);
  await assert.rejects(functions.Counter.from('30'), { name: 'CannotCross' });
  bireme.release(counter);
  await assert.rejects(counter.add(1), (error) => error instanceof bireme.Released);
  await made[Symbol.asyncDispose]();
  await assert.rejects(functions.isCounter(made), { name: 'Released' });
});

test('what its worker took along is an error, and never another object', async () => {
  const { functions, workers } = await service('owner', 1);
  const counter = await new functions.Counter(1);
  workers[0].child.kill('SIGKILL');
  await workers[0].exited;
  await until(() => counter.add(1).then(() => false, (error) => ['Released', 'WorkerLost'].includes(error.name)));
  await assert.rejects(counter.add(1), { name: 'Released' });
});

test('an instance that nobody holds is let go in its worker', async () => {
  require('node:v8').setFlagsFromString('--expose-gc');
  const gc = require('node:vm').runInNewContext('gc');
  await (async () => {
    for (let i = 0; i < 10; i++) await new functions.Counter(i);
  })();
  await until(async () => {
    gc();
    await delay(1);
    return clientService('calls').workers[0].link.handles.taken.size === 0;
  });
});

test('options that do not exist or do not fit are refused', () => {
  assert.throws(() => functions.add.with({ timout: 5 }), /no option "timout"; it has timeout, signal/);
  assert.throws(() => functions.add.with({ timeout: 'soon' }), /"timeout" of a call must be a number of milliseconds/);
  assert.throws(() => bireme.python(''), TypeError);
});

test('nothing is left behind', async () => {
  await until(() => {
    const { calls, incoming } = held();
    return calls === 0 && incoming === 0;
  });
});
