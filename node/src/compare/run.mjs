// Runs one function for `bireme compare`: node run.mjs FILE EXPORT, commands as JSON lines on the socket that is descriptor 0.
//
// Descriptor 0 is read and written without the event loop, so that between commands nothing of ours runs, and what the
// function prints goes elsewhere. python/src/bireme/compare/run.py is its counterpart and answers alike.
import { readFileSync, readSync, writeSync } from 'node:fs';
import { pathToFileURL } from 'node:url';

const NANOSECONDS = 1e9;
const SAMPLES_MAX = 200_000;

const [, , file, name] = process.argv;
let cases = [];
let call;

function* lines() {
  const chunk = Buffer.allocUnsafe(65536);
  let pending = '';
  for (;;) {
    const end = pending.indexOf('\n');
    if (end >= 0) {
      yield pending.slice(0, end);
      pending = pending.slice(end + 1);
      continue;
    }
    const count = readSync(0, chunk);
    if (count === 0) return;
    pending += chunk.toString('utf8', 0, count);
  }
}

function reply(value) {
  const bytes = Buffer.from(`${JSON.stringify(value)}\n`);
  for (let at = 0; at < bytes.length; ) at += writeSync(0, bytes, at);
}

const isPromise = (value) => value !== null && typeof value === 'object' && typeof value.then === 'function';

async function load() {
  const module = await import(pathToFileURL(file).href);
  call = module[name] ?? module.default?.[name];
  if (typeof call !== 'function') {
    const names = Object.keys({ ...module.default, ...module }).filter((key) => key !== 'default');
    throw new Error(`no function "${name}" is exported; exported are: ${names.join(', ') || 'none'}`);
  }
}

const seconds = (start) => Number(process.hrtime.bigint() - start) / NANOSECONDS;
const input = (index) => JSON.parse(cases[index % cases.length]);

const commands = {
  load({ cases: path }) {
    cases = readFileSync(path, 'utf8').split('\n').filter((line) => line.trim() !== '');
    return { cases: cases.length };
  },

  async answer({ case: index }) {
    const given = input(index);
    let answer;
    try {
      let value = call(given);
      const asynchronous = isPromise(value);
      if (asynchronous) value = await value;
      answer = { value: value === undefined ? null : value, asynchronous };
    } catch (error) {
      answer = { error: `${error?.name ?? 'Error'}: ${error?.message ?? error}` };
    }
    answer.changed_input = JSON.stringify(given) !== JSON.stringify(input(index));
    return answer;
  },

  // Calls one after the other, `calls` in each sample, until `seconds` have been spent in calls, or three times that in all.
  async time({ seconds: limit, calls, parse, asynchronous }) {
    const parsed = parse ? null : cases.map((text) => JSON.parse(text));
    const took = new Float64Array(SAMPLES_MAX);
    let count = 0, errors = 0, spent = 0, next = 0;
    const cpu = process.cpuUsage();
    const began = process.hrtime.bigint();
    while (count < SAMPLES_MAX && spent < limit && seconds(began) < 3 * limit) {
      const given = [];
      for (let n = 0; n < calls; n += 1, next += 1) given.push(parse ? input(next) : parsed[next % parsed.length]);
      const start = process.hrtime.bigint();
      for (let n = 0; n < calls; n += 1) {
        try {
          const value = call(given[n]);
          if (asynchronous) await value;
        } catch {
          errors += 1;
        }
      }
      took[count] = seconds(start) / calls;
      spent += took[count] * calls;
      count += 1;
    }
    const { user, system } = process.cpuUsage(cpu);
    return { took: Array.from(took.subarray(0, count)), cpu_seconds: (user + system) / 1e6, elapsed_seconds: seconds(began), errors };
  },

  // Keeps `in_flight` calls of an asynchronous function going. Calls that throw are counted apart: failing fast is not throughput.
  async flood({ seconds: limit, in_flight }) {
    let calls = 0, errors = 0, next = 0;
    const began = process.hrtime.bigint();
    const line = async () => {
      while (seconds(began) < limit) {
        try {
          await call(input(next++));
          calls += 1;
        } catch {
          errors += 1;
        }
      }
    };
    await Promise.all(Array.from({ length: in_flight }, line));
    return { calls, errors, elapsed_seconds: seconds(began) };
  },

  // What an error costs that is thrown some calls down and caught.
  throw({ calls, depth }) {
    const down = (left) => {
      if (left === 0) throw new Error('refused');
      return down(left - 1) + 1;
    };
    let caught = 0;
    const one = () => {
      try {
        down(depth);
      } catch (error) {
        if (error.message === 'refused') caught += 1;
      }
    };
    for (let n = 0; n < calls; n += 1) one();
    const start = process.hrtime.bigint();
    for (let n = 0; n < calls; n += 1) one();
    return { seconds: seconds(start) / calls, caught };
  },
};

try {
  await load();
} catch (error) {
  reply({ failed: String(error?.stack ?? error) });
  process.exit(1);
}
reply({ version: process.versions.node, facts: process.execArgv.map((argument) => `node ${argument}`) });
for (const line of lines()) {
  const command = JSON.parse(line);
  try {
    reply(await commands[command.do](command));
  } catch (error) {
    reply({ failed: String(error?.stack ?? error) });
  }
}
process.exit(0);
