'use strict';
// Makes `bireme` a module that applications can require, wherever they are, without installing it.

const Module = require('node:module');
const path = require('node:path');

const FILE = path.join(__dirname, 'bireme.js');

function install() {
  const resolve = Module._resolveFilename;
  Module._resolveFilename = function resolveFilename(request, ...rest) {
    return request === 'bireme' ? FILE : resolve.call(this, request, ...rest);
  };
}

module.exports = { install };
