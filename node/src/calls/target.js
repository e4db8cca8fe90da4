'use strict';
// What calls find in this process: functions of modules, which are loaded when they are first called. ES modules,
// CommonJS, and TypeScript where Node runs it, by Node's own loader.

const path = require('node:path');
const { createRequire, isBuiltin } = require('node:module');
const { pathToFileURL } = require('node:url');

const { callError } = require('./errors.js');

/** Functions that may be called twice. */
const idempotents = new WeakSet();

/** Marks a function: a call of it whose worker ends under it is made again by another. Returns the function. */
function idempotent(target) {
  if (typeof target !== 'function') throw new TypeError('idempotent() takes a function');
  idempotents.add(target);
  return target;
}

/** A dotted name in a file or module. `owner` and `value()` hold once it is loaded. */
class Bound {
  constructor({ file, module, name }, root) {
    this.file = file;
    this.module = module;
    this.names = name === '' ? [] : name.split('.');
    this.root = root;
    this.loaded = false;
    this.loading = null;
    this.namespace = null;
    this.owner = undefined;
  }

  get place() {
    return this.file ?? this.module;
  }

  get title() {
    return this.names.length === 0 ? this.place : `${this.names.join('.')} of ${this.place}`;
  }

  /** Loads the module. What failed is tried again by the next call. */
  load() {
    this.loading ??= this.#load().finally(() => {
      this.loading = null;
    });
    return this.loading;
  }

  async #load() {
    const url = this.#url();
    try {
      this.namespace = await import(url);
    } catch (error) {
      // The file itself is missing, and not something that it imports.
      if (error?.code === 'ERR_MODULE_NOT_FOUND' && error.url === url) throw callError('BIREME_NOT_FOUND', `there is no file ${this.place}`);
      throw error;
    }
    this.loaded = true;
  }

  #url() {
    if (this.file !== undefined) {
      if (!require('node:fs').existsSync(this.file)) throw callError('BIREME_NOT_FOUND', `there is no file ${this.file}`);
      return pathToFileURL(this.file).href;
    }
    if (isBuiltin(this.module)) return this.module;
    try {
      return pathToFileURL(createRequire(path.join(this.root, 'index.js')).resolve(this.module)).href;
    } catch (error) {
      throw callError('BIREME_NOT_FOUND', `there is no module ${this.module} in ${this.root}: ${String(error.message).split('\n', 1)[0]}`);
    }
  }

  /** What the name stands for now: an export may change. Throws `CallTargetNotFound`. */
  value() {
    const { namespace, names } = this;
    if (names.length === 0) return namespace;
    this.owner = undefined;
    let value = namespace;
    for (let i = 0; i < names.length; i++) {
      const name = names[i];
      let owner = value;
      // The exports of CommonJS are those of `default`, whether or not Node could tell their names.
      if (i === 0 && !(name in namespace) && isObject(namespace.default)) owner = namespace.default;
      if (!isObject(owner) || !(name in owner)) {
        throw callError('BIREME_NOT_FOUND', `${this.place} has no ${names.slice(0, i + 1).join('.')}${this.#exports(i)}`);
      }
      value = owner[name];
      if (owner !== namespace) this.owner = owner;
    }
    return value;
  }

  /** Whether what the name stands for is marked; false while it is not loaded, or does not exist. */
  get idempotent() {
    if (!this.loaded) return false;
    try {
      const value = this.value();
      return typeof value === 'function' && idempotents.has(value);
    } catch {
      // The call itself says so.
      return false;
    }
  }

  #exports(depth) {
    const names = depth === 0 ? Object.keys(this.namespace).slice(0, 10) : [];
    return names.length === 0 ? '' : `; it exports ${names.join(', ')}`;
  }
}

function isObject(value) {
  return (typeof value === 'object' && value !== null) || typeof value === 'function';
}

/** What a link asks for the targets of its peer's calls. `root`: the folder from which modules are found by name. */
class Host {
  constructor(root) {
    this.root = root;
    this.targets = new Map();
  }

  target({ file, module, name }) {
    const key = JSON.stringify([file, module, name]);
    let bound = this.targets.get(key);
    if (bound === undefined) this.targets.set(key, (bound = new Bound({ file, module, name }, this.root)));
    return bound;
  }
}

module.exports = { Host, idempotent };
