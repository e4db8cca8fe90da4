'use strict';
// Arrow tables, with the apache-arrow that the program has installed. Without one they stay bytes.
//
// A program may have several copies of it: as an ES module and as CommonJS, and in several folders. A table is written by
// the copy that made it, for none knows the classes of another.

const Module = require('node:module');
const path = require('node:path');

const { ArrowTable } = require('./types.js');

/** Where hooks.js has each ES module of apache-arrow put its exports. */
const COPIES = Symbol.for('bireme.apache-arrow');
/** The module that all its entries have in common. */
const COMMON_JS = `${path.sep}apache-arrow${path.sep}Arrow.dom.js`;

/** undefined: not looked for yet; null: the program has none. */
let installed;

/** The copies that are loaded, those that were imported first. */
function copies() {
  const loaded = [...(globalThis[COPIES] ?? [])];
  for (const file of Object.keys(Module._cache)) if (file.endsWith(COMMON_JS)) loaded.push(Module._cache[file].exports);
  return loaded;
}

/** apache-arrow as the program would load it, from its main file or the current folder. */
function find() {
  if (installed !== undefined) return installed;
  for (const from of [process.argv[1], path.join(process.cwd(), 'index.js')]) {
    try {
      installed = Module.createRequire(path.resolve(from))('apache-arrow');
      return installed;
    } catch {
      // Not there, or not to be loaded: the next place, or bytes.
    }
  }
  installed = null;
  return installed;
}

/** By the prototype: `instanceof` is true for the tables of other copies as well, which this one would write wrongly. */
function copyOf(table) {
  return copies().find(({ Table }) => typeof Table === 'function' && Object.prototype.isPrototypeOf.call(Table.prototype, table));
}

/** Whether a value looks like a Table of any copy; loads nothing. */
function looksLikeTable(value) {
  return Array.isArray(value.batches) && typeof value.schema === 'object' && value.schema !== null && Array.isArray(value.schema.fields);
}

/** The bytes of a Table as an IPC stream; null if no copy that is known has made it. */
function bytesOf(table) {
  return copyOf(table)?.tableToIPC(table, 'stream') ?? null;
}

function tableOf(bytes) {
  const library = copies().find(({ tableFromIPC }) => typeof tableFromIPC === 'function') ?? find();
  return library === null ? new ArrowTable(bytes) : library.tableFromIPC(bytes);
}

module.exports = { bytesOf, looksLikeTable, tableOf };
