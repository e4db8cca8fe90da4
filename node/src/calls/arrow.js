'use strict';
// Arrow tables, with the apache-arrow that the program has installed. Without one they stay bytes.

const path = require('node:path');
const { createRequire } = require('node:module');

const { ArrowTable } = require('./types.js');

/** undefined: not looked for yet; null: the program has none. */
let library;

/** apache-arrow as the program would load it, from its main file or the current folder. */
function find() {
  if (library !== undefined) return library;
  for (const from of [process.argv[1], path.join(process.cwd(), 'index.js')]) {
    try {
      library = createRequire(path.resolve(from))('apache-arrow');
      return library;
    } catch {
      // Not there, or not to be loaded: the next place, or bytes.
    }
  }
  library = null;
  return library;
}

/** Whether a value is a Table of apache-arrow; never loads it for a value that does not look like one. */
function isTable(value) {
  return Array.isArray(value.batches) && typeof value.schema === 'object' && find() !== null && value instanceof find().Table;
}

function bytesOf(table) {
  return find().tableToIPC(table, 'stream');
}

function tableOf(bytes) {
  return find() === null ? new ArrowTable(bytes) : find().tableFromIPC(bytes);
}

module.exports = { bytesOf, isTable, tableOf };
