'use strict';
// Makes `bireme` and `bireme/socket.io-adapter` modules that applications can require, wherever they are, without
// installing them.

const Module = require('node:module');
const path = require('node:path');

const FILES = new Map([
  ['bireme', path.join(__dirname, 'bireme.js')],
  ['bireme/socket.io-adapter', path.join(__dirname, 'socket.io-adapter.js')],
]);

function install() {
  const resolve = Module._resolveFilename;
  Module._resolveFilename = function resolveFilename(request, ...rest) {
    return FILES.get(request) ?? resolve.call(this, request, ...rest);
  };
}

module.exports = { install };
