'use strict';
// What a program sees of calls: imports of Python files, `bireme` without installing it, a broker where there is none, and a
// process that ends when it has nothing left to do.

const assert = require('node:assert/strict');
const { spawn } = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');
const { after, before, test } = require('node:test');

const { FakeBroker, SRC } = require('./fake-broker.js');
const { namesOf } = require('../src/calls/scan.js');

let broker;

before(async () => {
  broker = await new FakeBroker().start();
  await broker.worker();
  // The worker runs JavaScript: what it finds at the path is a module of that, whatever Python's scan saw in it.
  broker.write('model.py', 'def predict(x): ...\n\nclass Model: ...\n\nVERSION = "1"\n');
});

after(() => broker.stop());

/** Runs a program to its end. */
function run(name, source, { args = ['--require', path.join(SRC, 'boot.cjs')], env = broker.environment } = {}) {
  const file = broker.write(name, source);
  const bare = Object.fromEntries(Object.entries(process.env).filter(([key]) => !key.startsWith('BIREME_')));
  const child = spawn(process.execPath, [...args, file], { env: { ...bare, NODE_OPTIONS: '', ...env }, cwd: broker.folder });
  let [out, err] = ['', ''];
  child.stdout.on('data', (data) => (out += data));
  child.stderr.on('data', (data) => (err += data));
  return new Promise((resolve) => child.once('close', (code, signal) => resolve({ code, signal, out: out.trim(), err })));
}

/** Waits for a file that another process writes; its text. */
async function appears(file) {
  for (;;) {
    if (fs.existsSync(file)) return fs.readFileSync(file, 'utf8');
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

const FUNCTIONS = 'export const add = (a, b) => a + b; export const never = () => new Promise(() => {}); export const apply = (f, x) => f(x);';


const IMPORTS = [
  ['an ES module', 'main.mjs', `import model, { predict, Model, VERSION } from './model.py'; import { python, CallError } from 'bireme';
    console.log(predict.name, typeof Model, typeof VERSION, typeof model.anything, typeof python('numpy').linalg.norm, CallError.name);`],
  ['CommonJS', 'main.cjs', `const model = require('./model.py'); const { predict, Model, VERSION } = model; const { python, CallError } = require('bireme');
    console.log(predict.name, typeof Model, typeof VERSION, typeof model.anything, typeof python('numpy').linalg.norm, CallError.name);`],
  ['an import() of CommonJS', 'later.cjs', `import('./model.py').then(async ({ default: model, predict, Model, VERSION }) => { const { python, CallError } = await import('bireme');
    console.log(predict.name, typeof Model, typeof VERSION, typeof model.anything, typeof python('numpy').linalg.norm, CallError.name); });`],
];
for (const [what, name, source] of IMPORTS) {
  for (const [how, options] of [
    ['under bireme', {}],
    ['with bireme/register', { args: ['--import', path.join(SRC, 'register.mjs')], env: {} }],
  ]) {
    test(`${what} imports a Python file and bireme ${how}`, async () => {
      const { code, out, err } = await run(name, source, options);
      assert.equal(out, 'predict function function function function CallError', err);
      assert.equal(code, 0);
    });
  }
}

test('a name that the file does not have is an error of the import', async () => {
  const { code, err } = await run('wrong.mjs', `import { nothing } from './model.py';`);
  assert.equal(code, 1);
  assert.match(err, /does not provide an export named 'nothing'/);
});

test('a program ends when its calls have, and not before', async () => {
  const file = broker.write('functions.mjs', FUNCTIONS);
  const { code, out, err } = await run('ends.mjs', `
    import { createRequire } from 'node:module';
    const { pythonFile } = createRequire(import.meta.url)(${JSON.stringify(path.join(SRC, 'calls/python.js'))});
    const { add, apply } = pythonFile(${JSON.stringify(file)});
    console.log(await add(1, 2), await apply((x) => x + 1, 1));`);
  assert.equal(out, '3 2', err);
  assert.equal(code, 0);
});

test('a call that is under way keeps a program alive until its deadline', async () => {
  const file = broker.write('functions.mjs', FUNCTIONS);
  const { code, out } = await run('waits.cjs', `
    const { pythonFile } = require(${JSON.stringify(path.join(SRC, 'calls/python.js'))});
    pythonFile(${JSON.stringify(file)}).never.with({ timeout: 50 })().catch((error) => console.log(error.name));`);
  assert.equal(out, 'CallTimeout');
  assert.equal(code, 0);
});

const STAGES = [
  ['a call', 'functions.waits(marker)'],
  ['a stream', '(async () => { for await (const item of functions.items(marker)) console.log(item); })()'],
  ['a callback that it was asked for', 'functions.asks(marker, () => new Promise(() => {}))'],
];
for (const [what, call] of STAGES) {
  test(`a caller that is killed in ${what} ends what it had begun`, async () => {
    const marker = path.join(broker.folder, `marker-${what.replaceAll(' ', '-')}`);
    const file = broker.write('marking.mjs', `
      import { signal } from 'bireme';
      import { writeFileSync } from 'node:fs';
      const aborted = (running) => new Promise((resolve) => running.addEventListener('abort', resolve));
      export async function waits(marker) {
        const ended = aborted(signal());
        writeFileSync(marker + '.begun', '');
        await ended;
        writeFileSync(marker, 'aborted');
      }
      export async function* items(marker) {
        try { writeFileSync(marker + '.begun', ''); for (;;) { yield 1; await new Promise((resolve) => setTimeout(resolve, 1)); } } finally { writeFileSync(marker, 'closed'); }
      }
      export async function asks(marker, ask) {
        writeFileSync(marker + '.begun', '');
        try { await ask(); } catch (error) { writeFileSync(marker, error.name); }
      }`);
    const program = broker.write('killed.cjs', `
      const { pythonFile } = require(${JSON.stringify(path.join(SRC, 'calls/python.js'))});
      const functions = pythonFile(${JSON.stringify(file)}), marker = ${JSON.stringify(marker)};
      ${call};`);
    const child = spawn(process.execPath, ['--require', path.join(SRC, 'boot.cjs'), program], { env: { ...process.env, ...broker.environment }, stdio: 'ignore' });
    await appears(`${marker}.begun`);
    child.kill('SIGKILL');
    const outcome = { 'a call': 'aborted', 'a stream': 'closed' }[what] ?? 'WorkerLost';
    assert.equal(await appears(marker), outcome);
  });
}

test('a program that no bireme started has a broker of its own', async () => {
  const file = broker.write('functions.mjs', FUNCTIONS);
  const bin = broker.write('bireme', `#!${process.execPath}
    if (process.argv.slice(2).join(' ') !== 'broker --stdio') process.exit(9);
    console.log(${JSON.stringify(JSON.stringify({ broker: broker.path, token: broker.token }))});
    process.stdin.resume().on('end', () => require('node:fs').writeFileSync(__dirname + '/broker-ended', ''));`);
  fs.chmodSync(bin, 0o755);
  const { out, err } = await run('plain.cjs', `
    const { pythonFile } = require(${JSON.stringify(path.join(SRC, 'calls/python.js'))});
    const { add } = pythonFile(${JSON.stringify(file)});
    Promise.all([add(1, 2), add(3, 4)]).then((sums) => console.log(...sums));`, { args: ['--import', path.join(SRC, 'register.mjs')], env: { BIREME_BIN: bin } });
  assert.equal(out, '3 7', err);
  await appears(`${broker.folder}/broker-ended`);
});

test('without any bireme, a call says what to do', async () => {
  const source = `require('bireme').python('numpy').sum([1]).catch((error) => console.log(error.code, error.message));`;
  const args = ['--import', path.join(SRC, 'register.mjs')];
  const nowhere = await run('none.cjs', source, { args, env: { PATH: '/nowhere' } });
  assert.match(nowhere.out, /^BIREME_NO_BROKER no bireme to start workers with/);
  const broken = await run('none.cjs', source, { args, env: { BIREME_BIN: '/bin/false' } });
  assert.match(broken.out, /^BIREME_NO_BROKER \/bin\/false broker did not start: it ended with status 1/);
});

const SCANS = [
  ['definitions', 'def a(): ...\nasync def b(): ...\nclass C: ...\n@deco(x=1)\ndef d(): ...', 'a b C d'],
  ['what is within them is not the module\'s', 'def a():\n  def b(): ...\n  c = 1\nclass D:\n  e = 1', 'a D'],
  ['assignments', 'a = 1\nb: int = 2\nc, (d, *e) = f = 1, (2, 3)\ng: int\nh.i = 1\nj[0] = 1\nk += 1', 'a b c d e f'],
  ['comparisons and defaults bind nothing', 'print(a == b, x=1)\nif c != d: pass\nlambda q=1: q', ''],
  ['blocks of the module', 'if x:\n  a = 1\nelif y: b = 2\nelse:\n  c = 3\ntry:\n  d = 1\nfinally:\n  pass\nfor e in x: pass\nwith f() as g: h = 1', 'a b c d e g h'],
  ['private names and imports', '_a = 1\nimport b\nfrom c import d\n__version__ = 1', ''],
  ['__all__', "__all__ = ['a', \"b\"]\n__all__ += ['c']\ndef d(): ...", 'a b c'],
  ['strings and comments', '"""\ndef no(): ...\n"""\na = """\nb = 1""" # c = 1\nd = \'\\\'\'; e = r"\\\\"\nf = "#"', 'a d e f'],
  ['f-strings with their own quotes', 'a = f"{x["b = 1"]} {{ {c!r:>{w}}"\nd = 1', 'a d'],
  ['lines that go on', 'a = [\n1,\n]\nb = \\\n  1\ndef c(\n  d=1,\n): ...', 'a b c'],
  ['names of any language', 'größe = 1\ndef 名前(): ...', 'größe 名前'],
  ['type aliases', 'type A = int\ntype B[T] = list[T]', 'A B'],
  ['Windows line ends', 'a = 1\r\ndef b():\r\n  c = 1\r\n', 'a b'],
];
for (const [what, source, names] of SCANS) {
  test(`the names of a Python file: ${what}`, () => assert.equal(namesOf(source).join(' '), names));
}
