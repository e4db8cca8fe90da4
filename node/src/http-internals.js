'use strict';
// Where this version of Node keeps what we must read or keep true of its HTTP objects. Node names these fields with
// symbols it does not export; their descriptions have been the same since Node 20, and `test/http.test.js` fails when
// one is missed.

const http = require('node:http');

/** The property of a request or response of ours that leads to its exchange. */
const kExchange = Symbol('bireme.exchange');

const sample = new http.ServerResponse({ method: 'GET', httpVersionMajor: 1, httpVersionMinor: 1, headers: {} });
const symbolsOf = (object) => new Map(Object.getOwnPropertySymbols(object).map((symbol) => [symbol.description, symbol]));
const responseSymbols = symbolsOf(sample);
const serverSymbols = symbolsOf(http.createServer());

module.exports = {
  kExchange,
  kOutHeaders: responseSymbols.get('kOutHeaders'),
  kNeedDrain: responseSymbols.get('kNeedDrain'),
  kRejectNonStandardBodyWrites: responseSymbols.get('kRejectNonStandardBodyWrites'),
  kIncomingMessage: serverSymbols.get('IncomingMessage'),
  kServerResponse: serverSymbols.get('ServerResponse'),
  kUniqueHeaders: serverSymbols.get('kUniqueHeaders'),
  // Only in later versions: whether everything was written, and the callbacks of `end`, which those versions call
  // before 'finish' instead of on it.
  kWritableFinished: responseSymbols.get('kWritableFinished'),
  kEndCallbacks: responseSymbols.get('kEndCallbacks'),
};

for (const name of ['kOutHeaders', 'kNeedDrain', 'kIncomingMessage', 'kServerResponse']) {
  if (module.exports[name] === undefined) {
    throw new Error(`bireme cannot serve node:http of Node ${process.versions.node}: its ${name} is not where it was; Node 20 to 26 are supported`);
  }
}
