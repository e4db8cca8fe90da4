'use strict';
// One asynchronous context for each request. A link brings many requests in one turn; in plain node each has the
// context of its own connection. It matters to programs that change the current context in place
// (`AsyncLocalStorage.enterWith`) or follow identities (`createHook`): without it, one request would see what another
// has entered. `AsyncLocalStorage.run` needs nothing, so nobody pays until one of the two is used.

const asyncHooks = require('node:async_hooks');

const { AsyncLocalStorage, AsyncResource } = asyncHooks;

let needed = false;

/** Notices the first use of what needs a context for each request. Once a process, before the program is loaded. */
function watchContexts() {
  const { enterWith } = AsyncLocalStorage.prototype;
  AsyncLocalStorage.prototype.enterWith = {
    enterWith(store) {
      needed = true;
      return enterWith.call(this, store);
    },
  }.enterWith;
  const { createHook } = asyncHooks;
  asyncHooks.createHook = {
    createHook(callbacks) {
      needed = true;
      return createHook(callbacks);
    },
  }.createHook;
}

/** Where requests begin: in the context in which the program began to listen, as in plain node. */
class RequestContexts {
  constructor() {
    this.origin = new AsyncResource('BIREMESERVICE', { requireManualDestroy: true });
  }

  /** A context for one request, or null as long as nobody could tell the difference. */
  begin() {
    return needed ? this.origin.runInAsyncScope(() => new AsyncResource('BIREMEREQUEST')) : null;
  }
}

module.exports = { RequestContexts, watchContexts };
