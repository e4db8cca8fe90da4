'use strict';
// The add-on: memory that two links of this process lend each other, and what becomes of it when nothing looks any more.

const assert = require('node:assert/strict');
const path = require('node:path');
const { test } = require('node:test');
const { setFlagsFromString } = require('node:v8');
const { runInNewContext } = require('node:vm');

const runtime = process.env.XTASK_RUNTIME ?? path.join(__dirname, '../../target/release/runtime');
const native = require(path.join(runtime, 'node/src/native.node'));

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc');

const bytesOf = (view) => new Uint8Array(view.buffer, view.byteOffset, view.byteLength);

/** Two links that are each other's peer, and a promise for the next time that one has something to return. */
let rang = () => {};
native.onReturns(() => rang());

function pair() {
  return { lender: new native.Link(), reader: new native.Link() };
}

/** Collects garbage until `reader` has returned all it had from `lender`; each time it is told that there is something. */
async function returned({ lender, reader }) {
  // Nothing else keeps the test's process alive.
  const collecting = setInterval(collect, 5);
  while (lender.lent > 0) {
    await new Promise((resolve) => {
      rang = resolve;
    });
    const payload = reader.returns();
    if (payload !== null) lender.onReturn(payload);
  }
  clearInterval(collecting);
}

test('an array crosses by one copy, and is returned when it has been collected', async () => {
  const links = pair();
  const reference = new Float64Array(7);
  (() => {
    const array = Float64Array.from({ length: 20_000 }, (_, i) => i);
    assert.equal(links.lender.copy(bytesOf(array), reference), true);
    const received = new Float64Array(links.reader.borrow(...reference));
    array.fill(0);
    assert.equal(received.length, 20_000);
    assert.equal(received[19_999], 19_999);
    received[0] = 5;
  })();
  assert.equal(links.lender.lent, 1);
  await returned(links);
  assert.equal(links.lender.lent, 0);
});

test('shared memory shows both sides the same, however often it crosses', async () => {
  const links = pair();
  const reference = new Float64Array(7);
  await (async () => {
    const memory = native.Memory.allocate(800);
    const ours = new Float64Array(memory.buffer());
    assert.ok(ours.every((item) => item === 0));
    assert.equal(links.lender.lend(memory, 80, 160, reference), 7);
    const lent = links.reader.borrowShared(...reference);
    const theirs = new Float64Array(lent.buffer());
    theirs[0] = 1.5;
    assert.equal(ours[10], 1.5);
    assert.equal(links.reader.lend(lent, 8, 16, reference), 3);
    assert.deepEqual([...reference.subarray(1, 3)], [8, 16]);
    const home = new Float64Array(links.lender.home(reference[0], 8, 16).buffer());
    assert.throws(() => links.lender.home(reference[0], 8, 160), /not lent/);
    home[0] = 2.5;
    assert.equal(theirs[1], 2.5);
    // To a third process it would be copied.
    assert.equal(new native.Link().lend(lent, 0, 8, reference), 0);
    memory.release();
    assert.equal(memory.buffer(), null);
    assert.equal(ours[10], 1.5);
  })();
  await returned(links);
});

test('memory moved to another ArrayBuffer stays lent', { skip: ArrayBuffer.prototype.transfer === undefined }, async () => {
  const links = pair();
  const reference = new Float64Array(7);
  links.lender.copy(new Uint8Array(70_000).fill(7), reference);
  const moved = links.reader.borrow(...reference).transfer();
  collect();
  await new Promise(setImmediate);
  assert.equal(links.reader.returns(), null);
  assert.equal(new Uint8Array(moved)[69_999], 7);
});

test('what a peer sends is not believed', () => {
  const { lender, reader } = pair();
  const sample = lender.sample();
  assert.equal(reader.canOpen(...sample), true);
  assert.equal(reader.canOpen(sample[0], sample[1], 1.5, -1), false);
  const reference = new Float64Array(7);
  lender.copy(new Uint8Array(100), reference);
  const [lease, pid, descriptor, id, size] = reference;
  assert.throws(() => reader.borrow(lease, pid, descriptor, id, size, size - 10, 100), /outside of its segment/);
  assert.throws(() => reader.borrow(lease, pid, descriptor, id + 1, size, 0, 100), /out of reach/);
  assert.throws(() => reader.borrow(lease, NaN, -1, Infinity, 0.5, 0, 100), /out of reach/);
  assert.throws(() => lender.onReturn(new Uint8Array(4)), /not open/);
  assert.throws(() => lender.onReturn(new Uint8Array(3)), /whole numbers/);
  assert.throws(() => lender.copy(new Uint8Array(100), new Float64Array(2)), /takes 7 numbers/);
});

test('there is a limit', () => {
  native.configure(1 << 20);
  const { lender } = pair();
  const reference = new Float64Array(7);
  assert.throws(() => native.Memory.allocate(2 << 20), /at most 1048576 bytes.*shared_bytes_max/);
  assert.throws(() => native.Memory.allocate(NaN), /no room/);
  assert.equal(lender.copy(new Uint8Array(2 << 20), reference), false);
  native.configure(1 << 30);
});
