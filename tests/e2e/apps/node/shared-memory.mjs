// Arrays between this service and the Python service of apps/python/shared_memory.py; each path is an action.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { createRequire } from 'node:module';
import { setImmediate } from 'node:timers/promises';
import * as imported from 'apache-arrow';
import { NdArray, shared } from 'bireme';
import { describe, drop, fill, keep, kept, make, release, same, segments, strided, table, total } from '../python/shared_memory.py';

export const fillWith = (array, value) => { (array instanceof NdArray ? array.data : array).fill(value); };

let held = null;

const actions = {
  async kinds() {
    for (const Class of [Int8Array, Uint8ClampedArray, Uint16Array, Int32Array, Float32Array, Float64Array, BigUint64Array]) {
      const array = Class.from({ length: 50_000 }, (_, i) => (Class === BigUint64Array ? BigInt(i % 100) : i % 100));
      const back = await same(array);
      if (Class !== Uint8ClampedArray) assert.equal(back.constructor, Class);
      assert.deepEqual([...back], [...array]);
    }
    assert.deepEqual(await describe(new Float64Array(20_000).fill(1)), ['ndarray', '<f8', [20_000], 20_000]);
    const bytes = Buffer.alloc(100_000, 'bireme');
    assert.ok(bytes.equals(await same(bytes)));
    assert.ok(bytes.equals((await same({ deep: [bytes, 1] })).deep[0]));
    const matrix = await strided(400);
    assert.deepEqual([matrix.dtype, matrix.shape, matrix.data[1], matrix.data[200]], ['<f4', [400, 200], 800, 1]);
    assert.deepEqual((await same(matrix)).data, matrix.data);
  },

  /** Tables of pyarrow, and of both copies of apache-arrow that a program may have at once. */
  async tables() {
    const required = createRequire(import.meta.url)('apache-arrow');
    assert.notEqual(imported.Table, required.Table);
    for (const rows of [3, 20_000]) {
      const sum = ((rows - 1) * rows) / 2 * 1.5;
      const theirs = await table(rows);
      assert.ok(theirs instanceof imported.Table);
      assert.equal(theirs.numRows, rows);
      assert.equal(await total(theirs), sum);
      for (const copy of [imported, required]) {
        const numbers = Float64Array.from({ length: rows }, (_, i) => i);
        const ours = copy.tableFromArrays({ number: numbers, half: numbers.map((number) => number / 2) });
        assert.equal(await total(ours), sum);
        const home = await same(ours);
        assert.deepEqual(home.getChild('half').toArray(), ours.getChild('half').toArray());
        const words = copy.tableFromArrays({ word: ['a', null, 'é'] });
        assert.deepEqual([...(await same([words]))[0].getChild('word')], ['a', null, 'é']);
      }
    }
    const stranger = { schema: { fields: [] }, batches: [], __proto__: new (class Table {})() };
    await assert.rejects(same(stranger), /args\[0\]: a table of an unknown copy of apache-arrow cannot cross; pass new ArrowTable/);
  },

  async sees() {
    for (const length of [2, 1000, 1_000_000]) {
      const array = shared(Float64Array, length);
      await fill(array, 3);
      assert.equal(array[length - 1], 3);
      assert.deepEqual(await describe(array), ['SharedArray', '<f8', [length], 3 * length]);
      await fill(array.subarray(0, 1), 5);
      assert.equal(array[0], 5);
      const home = await same(array);
      home[1] = 9;
      assert.equal(array[1], 9);
      const theirs = await make('theirs', length, 1);
      theirs[0] = 4;
      assert.deepEqual(await kept('theirs'), [4, 1, length + 3]);
      theirs.release();
      assert.equal(theirs.length, 0);
      array.release();
      await assert.rejects(same(array), { code: 'BIREME_RELEASED' });
    }
    const bytes = shared(Uint8Array, 100);
    await fill(bytes, 8);
    assert.equal(bytes[99], 8);
  },

  async release() {
    assert.deepEqual(await release(), []);
  },

  /** Sends an array of ours that Python keeps, and keeps one of Python's. */
  async exchange() {
    await keep('ours', new Float64Array(100_000).fill(2));
    await keep('shared', shared(Float64Array, 100_000).fill(3));
    held = await same(new Float64Array(100_000).fill(4));
  },

  ours: async () => ({ ours: await kept('ours'), shared: await kept('shared') }),
  theirs: () => ({ sum: held.reduce((sum, item) => sum + item) }),

  async drop() {
    held = null;
    await drop();
    return await actions.segments();
  },

  async segments() {
    globalThis.gc();
    await setImmediate();
    const names = (text) => text.match(/memfd:bireme-[0-9a-f]+/g) ?? [];
    const own = new Set(fs.readdirSync('/proc/self/fd').flatMap((fd) => {
      try {
        return names(fs.readlinkSync(`/proc/self/fd/${fd}`));
      } catch {
        return [];
      }
    }));
    const foreign = new Set(names(fs.readFileSync('/proc/self/maps', 'utf8')).filter((name) => !own.has(name)));
    return { node: { foreign: foreign.size, own: own.size }, python: await segments() };
  },

  /** Arrays of all sizes in all ways, for so many seconds. */
  async churn(seconds) {
    const until = performance.now() + seconds * 1000;
    let calls = 0;
    while (performance.now() < until) {
      const length = 8192 << (calls % 8);
      await Promise.all([
        same(new Float64Array(length)), describe(new Float64Array(length)), same(shared(Float64Array, length)), strided(200),
        make('soak', length, 1),
      ]);
      calls += 5;
    }
    return { calls };
  },
};

export default {
  async fetch(request) {
    const url = new URL(request.url);
    const action = actions[url.pathname.slice(1)];
    if (action === undefined) return new Response('ready');
    return Response.json((await action(Number(url.searchParams.get('seconds')))) ?? {});
  },
};
