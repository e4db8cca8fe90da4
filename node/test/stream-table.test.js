'use strict';
// The table of a link's streams behaves as a Map does, and keeps nothing that was deleted.

const assert = require('node:assert/strict');
const { test } = require('node:test');

const { StreamTable } = require('../src/stream-table.js');

/** Numbers that look random and are the same in every run (Numerical Recipes' linear congruential generator). */
function generator(seed) {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

function same(table, map) {
  assert.equal(table.size, map.size);
  const ids = (streams) => [...streams].map((stream) => stream.id).sort((a, b) => a - b);
  assert.deepEqual(ids(table.values()), ids(map.values()));
}

test('a table of streams does what a Map does', () => {
  for (let seed = 1; seed <= 20; seed++) {
    const random = generator(seed);
    const table = new StreamTable();
    const map = new Map();
    // Few numbers meet often; numbers that are a multiple of the table's size apart meet always.
    const spread = seed % 2 === 0 ? 1 : 256;
    for (let step = 0; step < 4000; step++) {
      const id = 1 + random(seed * 60) * spread;
      if (random(3) > 0) {
        const stream = { id };
        table.set(id, stream);
        map.set(id, stream);
      } else {
        table.delete(id);
        map.delete(id);
      }
      const asked = 1 + random(seed * 60) * spread;
      assert.equal(table.get(asked), map.get(asked));
      if (step % 500 === 0) same(table, map);
    }
    same(table, map);
    table.clear();
    assert.deepEqual(table.values(), []);
    assert.equal(table.get(1), undefined);
  }
});

test('numbers up to the last of a link are kept apart', () => {
  const table = new StreamTable();
  for (const id of [1, 2 ** 31 - 1, 2 ** 31, 2 ** 32 - 2]) table.set(id, { id });
  for (const id of [1, 2 ** 31 - 1, 2 ** 31, 2 ** 32 - 2]) assert.equal(table.get(id).id, id);
  table.delete(2 ** 32 - 2);
  assert.equal(table.get(2 ** 32 - 2), undefined);
  assert.equal(table.get(2 ** 31).id, 2 ** 31);
});

test('the table grows with its streams and nothing points to what was deleted', () => {
  const table = new StreamTable();
  for (let id = 1; id <= 10_000; id++) table.set(id, { id });
  for (let id = 1; id <= 10_000; id++) assert.equal(table.get(id).id, id);
  for (let id = 1; id <= 10_000; id++) table.delete(id);
  assert.equal(table.size, 0);
  assert.ok(table.places.every((place) => place === undefined));
});
