'use strict';
// What TypeScript is told of the module `bireme` is what it has.

const assert = require('node:assert');
const { readFileSync } = require('node:fs');
const { join } = require('node:path');
const test = require('node:test');

const bireme = require('../src/bireme.js');

const DECLARED = readFileSync(join(__dirname, '../../crates/typings/src/bireme.d.ts'), 'utf8');

/** Names that exist at run time: classes, functions and constants; those of types alone do not. */
const declared = (kind) => [...DECLARED.matchAll(new RegExp(`^  export (?:abstract )?${kind} (\\w+)`, 'gm'))].map((found) => found[1]);

test('every export is declared, and nothing else', () => {
  const said = new Set(['class', 'function', 'const'].flatMap(declared));
  assert.deepStrictEqual([...said].sort(), Object.keys(bireme).sort());
});

test('what is declared as a class is one, and extends what it is declared to extend', () => {
  for (const name of declared('class')) assert.match(Function.prototype.toString.call(bireme[name]), /^class\b/, name);
  for (const name of declared('function')) assert.strictEqual(typeof bireme[name], 'function', name);
  for (const [, name, base] of DECLARED.matchAll(/^  export class (\w+) extends (\w+)/gm)) {
    // `Text` is what the text-like classes share, and no export.
    if (base === 'Text') continue;
    const parent = bireme[base] ?? globalThis[base];
    assert.ok(bireme[name].prototype instanceof parent, `${name} is declared to extend ${base}`);
  }
});

test('methods of classes that are declared are there', () => {
  for (const [, name, body] of DECLARED.matchAll(/^  export class (\w+)[^{]*\{\n(.*?)^  \}/gms)) {
    for (const [, method] of body.matchAll(/^    (?!private|constructor|static|readonly)(\w+)\(/gm)) {
      assert.strictEqual(typeof bireme[name].prototype[method], 'function', `${name}.${method}`);
    }
    for (const [, method] of body.matchAll(/^    static (\w+)\(/gm)) assert.strictEqual(typeof bireme[name][method], 'function', `${name}.${method}`);
  }
});
