'use strict';
// Python as JavaScript sees it: modules whose names are async functions. Nothing happens before one is called.

const { FLAG } = require('./codes.js');
const { checkOptions, theClient } = require('./client.js');
const { kMember } = require('./handles.js');

/** What a function of JavaScript has anyway stays that; Python's own names of this kind are reached by a dotted name. */
const LOCAL_NAMES = new Set(['then', ...Object.getOwnPropertyNames(Function.prototype), 'prototype', 'with']);

const kTarget = Symbol('bireme.target');

/** A name of a module: to be called, constructed, or followed to its attributes. */
function pythonFunction(place, name) {
  const client = theClient();
  const target = client.target(place, name);
  const label = name.slice(name.lastIndexOf('.') + 1);
  const members = new Map();
  // A `function`, so that `new` works on it; what it does is in the traps.
  const shell = { [label]: function () {} }[label];
  shell[kTarget] = target;
  const proxy = new Proxy(shell, {
    apply: (_shell, _this, args) => client.call(target, args, undefined, 0),
    construct: (_shell, args) => client.call(target, args, undefined, FLAG.NEW),
    get(object, key, receiver) {
      if (key === 'with') return (options) => configured(client, target, options);
      if (typeof key === 'symbol' || LOCAL_NAMES.has(key)) return Reflect.get(object, key, receiver);
      let member = members.get(key);
      if (member === undefined) members.set(key, (member = pythonFunction(place, `${name}.${key}`)));
      return member;
    },
  });
  return proxy;
}

/** The same, with options for each call. */
function configured(client, target, options) {
  checkOptions(options);
  const copy = { ...options };
  const call = function (...args) {
    return client.call(target, args, copy, new.target === undefined ? 0 : FLAG.NEW);
  };
  Object.defineProperty(call, 'name', { value: target.name });
  call.with = (more) => configured(client, target, { ...copy, ...more });
  return call;
}

/** A module: an object all of whose properties are functions of Python. */
function pythonModule(question, options) {
  const place = theClient().place(question, options);
  const members = new Map();
  const shell = Object.create(null);
  Object.defineProperty(shell, kTarget, { value: theClient().target(place, '') });
  return new Proxy(shell, {
    get(object, key) {
      if (typeof key === 'symbol') return key === Symbol.toStringTag ? 'PythonModule' : object[key];
      // A module with a function of this name would pass for a promise.
      if (key === 'then') return undefined;
      let member = members.get(key);
      if (member === undefined) members.set(key, (member = pythonFunction(place, key)));
      return member;
    },
  });
}

/** A Python module by its name, as `import` finds it there: `python('numpy')`. Options hold for all its calls. */
function python(name, { service, ...options } = {}) {
  if (typeof name !== 'string' || name === '') throw new TypeError('python() takes the name of a module');
  const question = { language: 'python', module: name };
  if (service !== undefined) question.service = service;
  return pythonModule(question, Object.keys(options).length === 0 ? undefined : options);
}

/** A Python file by its absolute path: what `import './model.py'` has as its default export. */
function pythonFile(file) {
  return pythonModule({ language: 'python', file });
}

/** The value of a name instead of a call: `await value(model.VERSION)`, `await value(instance.size)`. */
function value(name, options) {
  const member = name?.[kMember];
  if (member !== undefined) return member.value(options);
  const target = name?.[kTarget];
  if (target === undefined) throw new TypeError('value() takes a name of a Python module or of an object in Python');
  if (options !== undefined) checkOptions(options);
  return theClient().call(target, [], options, FLAG.GET);
}

module.exports = { python, pythonFile, value };
