'use strict';
// Lets Node load `.py` files and find the package `bireme`, in ES modules and CommonJS. Loads nothing of calls itself.

const Module = require('node:module');
const path = require('node:path');
const { fileURLToPath, pathToFileURL } = require('node:url');

/** The package's modules, as its package.json exports them; found everywhere, without being installed. */
const MODULES = new Map([
  ['bireme', path.join(__dirname, '..', 'bireme.js')],
  ['bireme/socket.io-adapter', path.join(__dirname, '..', 'socket.io-adapter.js')],
]);

let installed = false;

/** Once in a thread. */
function install() {
  if (installed) return;
  installed = true;
  Module._extensions['.py'] = (module, file) => {
    module.exports = require('./python.js').pythonFile(file);
  };
  if (typeof Module.registerHooks === 'function') Module.registerHooks({ resolve, load });
  else installBefore22();
}

function resolve(specifier, context, next) {
  const file = MODULES.get(specifier);
  if (file === undefined) return next(specifier, context);
  return { url: pathToFileURL(file).href, format: 'commonjs', shortCircuit: true };
}

function load(url, context, next) {
  if (isArrow(url)) return withItsExports(url, next(url, context));
  if (!isPython(url) || context.conditions?.includes('require')) return next(url, context);
  return { format: 'module', source: sourceFor(url), shortCircuit: true };
}

function isPython(url) {
  return url.startsWith('file:') && /\.py($|[?#])/.test(url);
}

/** The ES module that all entries of apache-arrow have in common. */
function isArrow(url) {
  return url.endsWith('/apache-arrow/Arrow.dom.mjs');
}

/** Has the module put its exports where arrow.js finds them: nobody can ask an ES module whether it is loaded. */
function withItsExports(url, loaded) {
  // In the thread of hooks they are asynchronous.
  if (typeof loaded.then === 'function') return loaded.then((inner) => withItsExports(url, inner));
  const source = typeof loaded.source === 'string' ? loaded.source : Buffer.from(loaded.source).toString();
  // These hooks may be there twice, one set before the other.
  if (source.includes('biremeItself')) return loaded;
  const lines = [
    source,
    `import * as biremeItself from ${JSON.stringify(url)};`,
    "(globalThis[Symbol.for('bireme.apache-arrow')] ??= []).push(biremeItself);",
  ];
  return { ...loaded, source: lines.join('\n') };
}

/** The ES module that stands for a Python file: its names, and the whole of it as the default export. */
function sourceFor(url) {
  const file = fileURLToPath(url);
  const names = require('./scan.js').namesOf(require('node:fs').readFileSync(file, 'utf8'));
  const lines = [
    `import runtime from ${JSON.stringify(pathToFileURL(path.join(__dirname, 'python.js')).href)};`,
    `const module = runtime.pythonFile(${JSON.stringify(file)});`,
    'export { module as default };',
  ];
  // A namespace with a `then` would pass for a promise.
  const exported = names.filter((name) => name !== 'default' && name !== 'then');
  exported.forEach((name, i) => lines.push(`const _${i} = module[${JSON.stringify(name)}];`, `export { _${i} as ${name} };`));
  return lines.join('\n');
}

/**
 * Before Node 22.15, ES modules have hooks in a thread of their own alone, which takes tens of milliseconds to start. So
 * it is started when there may be ES modules: the program is one, or a CommonJS module says `import(`.
 */
function installBefore22() {
  const resolveFilename = Module._resolveFilename;
  Module._resolveFilename = function (request, ...rest) {
    return MODULES.get(request) ?? Reflect.apply(resolveFilename, this, [request, ...rest]);
  };
  const register = () => {
    Module.prototype._compile = compile;
    Module.register(pathToFileURL(path.join(__dirname, 'hooks-thread.mjs')).href);
  };
  const compile = Module.prototype._compile;
  Module.prototype._compile = function (content, ...rest) {
    if (/\bimport\s*\(/.test(content)) register();
    return Reflect.apply(compile, this, [content, ...rest]);
  };
  if (mayBeModule(process.argv[1])) register();
}

/** Whether the program is an ES module, or so unlike a CommonJS one that Node must be asked. */
function mayBeModule(program) {
  if (program === undefined || process.execArgv.some((option) => option.startsWith('--import'))) return true;
  if (program.endsWith('.cjs')) return false;
  if (!program.endsWith('.js')) return true;
  for (let folder = path.dirname(path.resolve(program)); ; folder = path.dirname(folder)) {
    try {
      return require(path.join(folder, 'package.json')).type === 'module';
    } catch {
      // None here, or none that can be read: the one above counts.
    }
    if (folder === path.dirname(folder)) return false;
  }
}

module.exports = { install, load, resolve };
