'use strict';
// An object that lives in another process. What its methods do is in handles.js; this is only what it is.

const kName = Symbol('bireme.name');

/** An instance in a worker of the other language. Its methods are async functions. */
class RemoteObject {
  constructor(name) {
    Object.defineProperty(this, kName, { value: name });
  }

  /** The name of its class there. */
  static nameOf(object) {
    return object[kName];
  }
}

module.exports = { RemoteObject, kName };
