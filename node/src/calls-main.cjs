'use strict';
// The program of a worker that takes calls alone; boot.cjs has run before it.

require('./worker.js').startCalls();
