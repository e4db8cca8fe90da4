'use strict';
// Arrow tables, with the apache-arrow that the program has installed. Without one they stay bytes.
//
// A program may have several copies of it: as an ES module and as CommonJS, and in several folders. A table is written by
// the copy that made it, for none knows the classes of another.

const Module = require('node:module');
const path = require('node:path');

const { CannotCross } = require('./errors.js');
const { ArrowTable } = require('./types.js');

/** Where hooks.js has each ES module of apache-arrow put its exports. */
const COPIES = Symbol.for('bireme.apache-arrow');
/** The module that all its entries have in common. */
const COMMON_JS = `${path.sep}apache-arrow${path.sep}Arrow.dom.js`;

/** undefined: not looked for yet; null: the program has none. */
let installed;
/** The loaded CommonJS copy that makes tables of bytes, once one was found. */
let commonJs;
/** The copy that made the tables of a prototype. */
const makers = new WeakMap();

/** The copies that were imported. */
function esModules() {
  return globalThis[COPIES] ?? [];
}

/** The copies that were required. A walk through all that is loaded, so what it finds is remembered. */
function commonJsModules() {
  return Object.keys(Module._cache).filter((file) => file.endsWith(COMMON_JS)).map((file) => Module._cache[file].exports);
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
function makerOf(table) {
  const prototype = Object.getPrototypeOf(table);
  let maker = makers.get(prototype);
  if (maker === undefined) {
    const made = ({ Table }) => typeof Table === 'function' && Object.prototype.isPrototypeOf.call(Table.prototype, table);
    maker = esModules().find(made) ?? commonJsModules().find(made);
    if (maker !== undefined) makers.set(prototype, maker);
  }
  return maker;
}

function reads({ tableFromIPC }) {
  return typeof tableFromIPC === 'function';
}

/** The copy that makes tables of bytes: one that was imported before one that was required; null if there is none. */
function reader() {
  return esModules().find(reads) ?? (commonJs ??= commonJsModules().find(reads)) ?? find();
}

/** Whether a value looks like a Table of any copy; loads nothing. */
function looksLikeTable(value) {
  return Array.isArray(value.batches) && typeof value.schema === 'object' && value.schema !== null && Array.isArray(value.schema.fields);
}

/** The bytes of a Table as an IPC stream; null if no copy that is known has made it. */
function bytesOf(table) {
  return makerOf(table)?.tableToIPC(table, 'stream') ?? null;
}

function tableOf(bytes) {
  const library = reader();
  if (library === null) return new ArrowTable(bytes);
  try {
    return library.tableFromIPC(bytes);
  } catch (error) {
    // Not every type of Arrow is known to every version of it: that is no fault of the peer's.
    throw new CannotCross(`the apache-arrow that this program has cannot read a table: ${error.message}`);
  }
}

module.exports = { bytesOf, looksLikeTable, tableOf };
