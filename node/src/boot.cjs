'use strict';
// Preloaded into every `node` that Bireme starts, before the program. In a process that is not a worker (a child or a
// worker thread, which inherit the option) it does nothing.

const link = process.env.BIREME_LINK;
if (link !== undefined && link !== '' && require('node:worker_threads').isMainThread) {
  require('./worker.js').start();
}
