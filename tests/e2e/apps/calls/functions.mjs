// What tests/e2e/test_calls.py calls in JavaScript; functions.py has the same for Python.
import { existsSync, readdirSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { setImmediate } from 'node:timers/promises';

import { signal } from 'bireme';

export const VERSION = '1.2';

export const add = (a, b) => a + b;

export const later = async (x) => {
  await null;
  return x;
};

export const echo = (x) => x;

export const following = (n) => n + 1;

const runtime = (file) => Object.entries(createRequire(import.meta.url).cache).find(([name]) => name.endsWith(`/node/src/${file}`))[1].exports;

/** What this process still has of calls, and how much it has at all. */
export async function left() {
  // Finalizers run between two turns, and let go of more.
  for (let i = 0; i < 3; i++) {
    globalThis.gc();
    await setImmediate();
  }
  const { heapUsed, arrayBuffers } = process.memoryUsage();
  const found = { fds: readdirSync('/proc/self/fd').length, bytes: heapUsed + arrayBuffers, ...runtime('calls/client.js').theClient().counts() };
  // This call.
  return { ...found, incoming: found.incoming - 1 };
}

export const keywords = (a, { top = 1 } = {}) => [a, top];

class Odd extends Error {
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

function inner() {
  throw new Odd('too far', 416);
}

export function boom(x) {
  return inner(x);
}

export function boom_with_cause() {
  try {
    inner(0);
  } catch (error) {
    throw new RangeError('outer', { cause: error });
  }
}

export const unserializable = () => ({ deep: [new WeakMap()] });

export const pid = () => process.pid;

export function* count(n) {
  for (let i = 0; i < n; i++) yield i;
}

export async function* endless(marker) {
  try {
    for (let number = 0; ; number++) yield number;
  } finally {
    writeFileSync(marker, 'closed');
  }
}

export async function* fails() {
  yield 1;
  throw new Odd('midway', 500);
}

export async function waits(marker) {
  const running = signal();
  writeFileSync(`${marker}.begun`, '');
  await new Promise((resolve) => running.addEventListener('abort', resolve));
  writeFileSync(marker, 'cancelled');
}

export function blocks(marker) {
  writeFileSync(`${marker}.begun`, '');
  for (;;);
}

export function dies_once(marker) {
  if (existsSync(marker)) return process.pid;
  writeFileSync(marker, '');
  process.exit(3);
}

export const apply = async (f, ...args) => f(...args);

export const collect = async (items) => {
  const all = [];
  for await (const item of items) all.push(item);
  return all;
};

export const depth = async (f, n) => (n === 0 ? 0 : 1 + (await f(n - 1)));

export class Counter {
  constructor(start) {
    this.n = start;
  }

  add(k) {
    this.n += k;
    return this.n;
  }

  boom() {
    throw new Odd('in a method', 1);
  }

  *up_to(n) {
    for (; this.n < n; this.n++) yield this.n;
  }
}

export const is_counter = (x) => x instanceof Counter;

export const total = (numbers) => numbers.reduce((sum, x) => sum + x, 0);
