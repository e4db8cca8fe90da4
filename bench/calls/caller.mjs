// One caller of the bench. It says READY, then measures what each line of its input asks for, and answers with a line of
// JSON: {"values": […]} in microseconds a call, or {"rate": …} a second.
import { createInterface } from 'node:readline';
import { bridges } from './bridges.mjs';

const WARM_UP_SHARE = 0.2;

const bridge = await bridges[process.argv[2]]();

/** An object of about 1 KB as JSON. */
const object = {
  id: 12345, name: 'Jemima Puddle-Duck', active: true, score: 98.6, tags: ['duck', 'farm', 'fox'], address: null,
  orders: Array.from({ length: 8 }, (_, i) => ({ id: i, sku: `SKU-${1000 + i}`, price: 9.99 + i, count: i + 1, note: 'x'.repeat(40) })),
};

/** Calls one at a time; microseconds of each. */
async function each(seconds, call) {
  const values = [];
  const begin = performance.now();
  const warm = begin + seconds * 1000 * WARM_UP_SHARE;
  const end = begin + seconds * 1000;
  for (let now = begin; now < end; ) {
    await call();
    const after = performance.now();
    if (now >= warm) values.push((after - now) * 1000);
    now = after;
  }
  return percentiles(values);
}

/** The middle and the tail; all of them would be megabytes. */
function percentiles(values) {
  values.sort((a, b) => a - b);
  return { p50: values[values.length >> 1], p99: values[Math.floor(values.length * 0.99)], count: values.length };
}

/** 64 calls under way all the time; calls a second. */
async function together(seconds, call) {
  let done = 0;
  let counting = false;
  let over = false;
  const lanes = Array.from({ length: 64 }, async () => {
    while (!over) {
      await call();
      if (counting) done++;
    }
  });
  const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
  await pause(seconds * 1000 * WARM_UP_SHARE);
  counting = true;
  const begin = performance.now();
  await pause(seconds * 1000 * (1 - WARM_UP_SHARE));
  const rate = (done / (performance.now() - begin)) * 1000;
  over = true;
  await Promise.all(lanes);
  return { rate };
}

async function stream(seconds) {
  const until = performance.now() + seconds * 1000;
  const rates = [];
  while (performance.now() < until) {
    const begin = performance.now();
    let count = 0;
    for await (const item of bridge.items(200_000)) count += item.length / 64;
    rates.push((count / (performance.now() - begin)) * 1000);
  }
  return { rate: rates.sort((a, b) => a - b)[rates.length >> 1] };
}

function shared(bytes) {
  const array = bridge.shared(Float64Array, bytes / 8);
  array[0] = 1;
  array[array.length - 1] = 2;
  return async (seconds) => {
    const result = await each(seconds, async () => {
      if ((await bridge.ends(array)) !== 3) throw new Error('a wrong sum');
    });
    array.release();
    return result;
  };
}

const megabytes = new Float64Array(1_000_000).fill(0.5);

const measures = {
  add: (seconds) => each(seconds, () => bridge.add(1, 2)),
  together: (seconds) => together(seconds, () => bridge.add(1, 2)),
  object: (seconds) => each(seconds, () => bridge.same(object)),
  total: (seconds) => each(seconds, () => bridge.total(megabytes)),
  // Without typed arrays, a list is what crosses.
  'total-list': (seconds) => {
    const list = [...megabytes];
    return each(seconds, () => bridge.total(list));
  },
  'ends-small': (seconds) => shared(8_000)(seconds),
  'ends-large': (seconds) => shared(800_000_000)(seconds),
  items: stream,
};

if ((await bridge.add(1, 2)) !== 3) throw new Error('a bridge that cannot add');
console.log('READY');
for await (const line of createInterface({ input: process.stdin })) {
  const [name, seconds] = line.split(' ');
  console.log(JSON.stringify(await measures[name](Number(seconds))));
}
bridge.end?.();
process.exit(0);
