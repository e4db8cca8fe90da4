// Calls Python, case by case; server.py is the same for Python. See tests/e2e/test_calls.py.
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';

import * as bireme from 'bireme';

import * as properties from './properties.mjs';
import whole, { add, apply, blocks, boom, boom_with_cause, collect, count, Counter, depth, dies_once, echo, endless, fails, following, is_counter, keywords, later, left, pid, queued, table, total, total_of_table, touches, unserializable, VERSION, waits, waits_for } from './functions.py';

const all = async (items) => {
  const found = [];
  for await (const item of items) found.push(item);
  return found;
};

const told = (error) => ({
  name: error.name, type: error.type, message: error.message, code: error.code, status: error.status, started: error.started,
  stack: error.stack, cause: error.cause?.message, own: error instanceof bireme.CallError,
});

const outcome = (promise) => promise.then((value) => ({ value }), (error) => ({ error: told(error) }));

async function outermost(f, ...args) {
  return await f(...args);
}

/** Every value of the golden file that both languages have comes back as it went. */
async function golden({ file }) {
  const { default: classes } = bireme;
  const evaluate = (expression) => new Function(...Object.keys(classes), `return (${expression})`)(...Object.values(classes));
  let tried = 0;
  for (const { name, from_javascript, from_python, to_javascript, to_python } of JSON.parse(readFileSync(file, 'utf8')).values) {
    // Some come back as something else: a subclass, a number of another kind.
    if (to_javascript === undefined || !from_javascript?.includes(to_javascript) || !from_python?.includes(to_python)) continue;
    const value = evaluate(to_javascript);
    assert.deepEqual(await echo(value), value, name);
    tried++;
  }
  return tried;
}

/** So many calls, 64 at a time. */
async function soak(calls) {
  let next = 0;
  const lane = async () => {
    while (next < calls) {
      const number = next++;
      assert.equal(await following(number), number + 1);
    }
  };
  await Promise.all(Array.from({ length: 64 }, lane));
  return next;
}

const CASES = {
  soak: ({ calls }) => soak(Number(calls)),
  left: () => left(),
  functions: async () => [await add(1, 2), await later('x'), await echo({ a: [null, true, 'é'] }), await whole.add(3, 4)],
  value: () => bireme.value(VERSION),
  keywords: async () => [await keywords(1), await keywords.with({ kwargs: { top: 3 } })(1)],
  error: () => outcome(outermost(boom, 1)),
  cause: () => outcome(boom_with_cause()),
  missing: async () => [await outcome(whole.nothing()), await outcome(bireme.python('no_such_module').f())],
  cannot_cross: async () => [await outcome(add({ user: { lock: new WeakMap() } }, 1)), await outcome(unserializable())],
  pid: () => pid(),
  pids: async () => Promise.all(Array.from({ length: 40 }, () => pid())),
  stream: async () => [await all(count(5)), (await all(count(50_000))).length, await collect(count(3))],
  own_stream: () => collect((async function* () { yield 1; yield 2; })()),
  array_block: ({ marker }) => outcome(blocks(marker, new Float64Array(100_000))),
  leave: async ({ marker }) => {
    for await (const item of endless(marker)) if (item === 1000) return item;
  },
  stream_error: async () => {
    const found = [];
    return outcome((async () => { for await (const item of fails()) found.push(item); })()).then(({ error }) => ({ found, error }));
  },
  timeout: ({ marker }) => outcome(waits.with({ timeout: 100 })(marker)),
  cancel: async ({ marker }) => {
    const controller = new AbortController();
    const running = outcome(waits.with({ signal: controller.signal })(marker));
    await new Promise((resolve) => setTimeout(resolve, 5));
    controller.abort();
    return running;
  },
  callback: async () => [await apply((a, b) => a * b, 6, 7), await outcome(apply(() => { throw new RangeError('from home'); }))],
  nested: () => {
    const there = (n) => depth(there, n);
    return there(20);
  },
  instance: async () => {
    const counter = await new Counter(5);
    return [await counter.add(2), await bireme.value(counter.n), await is_counter(counter), await all(counter.up_to(9)), await outcome(counter.boom())];
  },
  released: async () => {
    const counter = await new Counter(5);
    bireme.release(counter);
    return outcome(counter.add(1));
  },
  array: () => total(new Float64Array(100_000).fill(0.5)),
  // apache-arrow is not installed here.
  table: async () => {
    const arrow = await table(5);
    assert.ok(arrow instanceof bireme.ArrowTable && arrow.bytes.length > 100);
    return total_of_table(arrow);
  },
  timeout_of_service: ({ marker }) => outcome(waits(marker)),
  timeout_never: ({ marker }) => outcome(waits.with({ timeout: 0 })(marker)),
  busy: async ({ marker }) => {
    const outcomes = await Promise.all(Array.from({ length: 20 }, (_, i) => outcome(waits.with({ timeout: 500 })(`${marker}.${i}`))));
    return outcomes.map(({ error }) => error.code).sort();
  },
  // A stream whose worker is killed under it.
  stream_block: ({ marker }) => outcome((async () => { for await (const item of endless(marker)) if (item === 0) writeFileSync(`${marker}.begun`, ''); })()),
  // An object whose worker is killed.
  instance_block: async ({ marker }) => {
    const counter = await new Counter(1);
    await outcome(waits.with({ timeout: 0 })(marker));
    return outcome(counter.add(1));
  },
  block: ({ marker }) => outcome(blocks(marker)),
  // One call has the only thread, and another waits for it.
  queued: async ({ marker }) => {
    const calls = [outcome(waits_for(marker)), outcome(touches(`${marker}.touched`))];
    await queued(1);
    writeFileSync(`${marker}.queued`, '');
    return Promise.all(calls);
  },
  loads: async () => outcome((await import('./gate.py')).run()),
  runs: async () => (await import('./gate.py')).runs(),
  die: ({ marker }) => outcome(dies_once(marker)),
  die_idempotent: ({ marker }) => outcome(dies_once.with({ idempotent: true })(marker)),
  golden,
  properties: ({ seed, seconds }) => properties.check(Number(seed), Number(seconds)),
};

export default {
  async fetch(request) {
    const url = new URL(request.url);
    const run = CASES[url.pathname.split('/').pop()];
    if (run === undefined) return new Response('here');
    const answer = await run(Object.fromEntries(url.searchParams));
    return Response.json(answer ?? null);
  },
};
