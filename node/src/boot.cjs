'use strict';
// Preloaded into every `node` that Bireme starts, before the program. In a process that is not a worker (a child or a
// worker thread, which inherit the option) it only lets Python be imported.

const { isMainThread } = require('node:worker_threads');

const { BIREME_BROKER, BIREME_LINK } = process.env;
if (BIREME_BROKER || BIREME_LINK) require('./calls/hooks.js').install();
if (BIREME_LINK && isMainThread) require('./worker.js').start();
