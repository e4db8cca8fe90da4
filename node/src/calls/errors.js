'use strict';
// Errors of calls: those that Bireme raises, those that a function of the other language raised, and their way over a
// link and back; see "Errors" in protocol/calls.md. It knows nothing of frames.


const stacks = require('./stacks.js');

/** What is kept of an error that came over a link, to be passed on with nothing lost. */
const kFacts = Symbol('bireme.facts');

/** What went wrong with a call itself, rather than in the function that was called. `code` is one of protocol/calls.md. */
class CallError extends Error {
  constructor(message, code = 'BIREME_UNAVAILABLE') {
    super(message);
    this.name = new.target.name;
    this.code = code;
  }

  static [Symbol.hasInstance](value) {
    return Function.prototype[Symbol.hasInstance].call(this, value) || (this === CallError && value instanceof CannotCross);
  }
}

/** The deadline passed. */
class CallTimeout extends CallError {
  constructor(message, code = 'BIREME_CALL_TIMEOUT') {
    super(message, code);
  }
}

/** The other side cancelled the call: the function was cancelled, or its worker is to stop. */
class CallCancelled extends CallError {
  constructor(message, code = 'BIREME_CALL_CANCELLED') {
    super(message, code);
    // As the web platform calls it.
    this.name = 'AbortError';
  }
}

/** A queue is full: the caller asks faster than the service answers. */
class ServiceBusy extends CallError {
  constructor(message, code = 'BIREME_SERVICE_BUSY') {
    super(message, code);
  }
}

/** The worker's process ended. `started` is "no" if the function surely has not begun, or "unknown". */
class WorkerLost extends CallError {
  constructor(message, started = 'unknown') {
    super(message, 'BIREME_WORKER_LOST');
    this.started = started === 'no' ? 'no' : 'unknown';
  }
}

/** No such file, module or attribute. */
class CallTargetNotFound extends CallError {
  constructor(message, code = 'BIREME_NOT_FOUND') {
    super(message, code);
  }
}

/** A handle that has been released, or whose owner has gone. */
class Released extends CallError {
  constructor(message, code = 'BIREME_RELEASED') {
    super(message, code);
  }
}

/** No room for shared memory. */
class SharedMemoryFull extends CallError {
  constructor(message, code = 'BIREME_SHARED_FULL') {
    super(message, code);
  }
}

/** A value cannot cross; the message names its path. Also `instanceof CallError`. */
class CannotCross extends TypeError {
  constructor(message, code = 'BIREME_VALUE') {
    super(message);
    this.name = 'CannotCross';
    this.code = code;
  }
}

/** What a Python function raised. `type` is its class, `remoteStack` Python's own traceback. */
class PythonError extends Error {
  constructor(message) {
    super(message);
    this.name = 'PythonError';
  }
}

const CLASSES = new Map([
  ['BIREME_CALL_TIMEOUT', CallTimeout],
  ['BIREME_CALL_CANCELLED', CallCancelled],
  ['BIREME_SERVICE_BUSY', ServiceBusy],
  ['BIREME_NOT_FOUND', CallTargetNotFound],
  ['BIREME_VALUE', CannotCross],
  ['BIREME_TOO_LARGE', CannotCross],
  ['BIREME_RELEASED', Released],
  ['BIREME_SHARED_FULL', SharedMemoryFull],
  ['BIREME_UNAVAILABLE', CallError],
  ['BIREME_NO_BROKER', CallError],
]);

/** Errors of JavaScript that come home keep their class. */
const BUILT_IN = new Map(
  [Error, EvalError, RangeError, ReferenceError, SyntaxError, TypeError, URIError].map((Class) => [Class.name, Class]),
);

/** A thrown value as the map that travels, with `frames` innermost last, and `cause` and `suppressed` as they are. */
function factsOf(error) {
  const kept = typeof error === 'object' && error !== null ? error[kFacts] : undefined;
  if (kept !== undefined) {
    return { ...kept, frames: [...stacks.framesOf(error, stacks.ownStack(error)), ...kept.frames], cause: error.cause ?? kept.cause };
  }
  if (!(error instanceof Error) && !require('node:util').types.isNativeError(error)) {
    return plainFacts('Error', `a value that is no Error was thrown: ${inspect(error)}`);
  }
  const stack = text(error.stack);
  return {
    language: 'javascript',
    type: nameOf(error),
    message: text(error.message),
    code: typeof error.code === 'string' ? error.code : undefined,
    frames: stacks.framesOf(error, stack),
    text: stack,
    cause: 'cause' in error ? asError(error.cause) : undefined,
    suppressed: Array.isArray(error.errors) ? error.errors.map(asError) : [],
    notes: [],
    properties: propertiesOf(error),
  };
}

function plainFacts(type, message, code) {
  return {
    language: 'javascript', type, message, code, frames: [], text: '', cause: undefined, suppressed: [], notes: [], properties: {},
  };
}

function asError(value) {
  return value === undefined || value === null || value instanceof Error ? value : new Error(inspect(value));
}

/** The class's name where an application gave its error none of its own. */
function nameOf(error) {
  const name = text(error.name);
  const own = error.constructor?.name;
  return BUILT_IN.has(name) && typeof own === 'string' && own !== '' ? own : name || 'Error';
}

const NOT_PROPERTIES = new Set(['name', 'message', 'stack', 'cause', 'errors', 'code']);

function propertiesOf(error) {
  const properties = {};
  for (const key of Object.keys(error)) {
    if (NOT_PROPERTIES.has(key) && !(key === 'code' && typeof error.code !== 'string')) continue;
    try {
      properties[key] = error[key];
    } catch {
      // A getter that throws has nothing to say.
    }
  }
  return properties;
}

/** The error that facts stand for, made where the caller awaits it: V8 then knows who that is. */
function errorOf(facts) {
  const error = make(facts);
  const cause = facts.cause === undefined ? undefined : errorOf(facts.cause);
  const kept = { ...facts, cause: undefined, suppressed: facts.suppressed.map((inner) => errorOf(inner)) };
  hidden(error, kFacts, kept);
  if (cause !== undefined) hidden(error, 'cause', cause);
  if (kept.suppressed.length > 0) hidden(error, 'errors', kept.suppressed);
  for (const [key, value] of Object.entries(facts.properties)) if (!(key in error)) error[key] = value;
  if (facts.code !== undefined && error.code === undefined) error.code = facts.code;
  error.type = facts.type;
  if (facts.notes.length > 0) error.notes = facts.notes;
  hidden(error, 'remoteStack', facts.text);
  stacks.join(error, facts);
  return error;
}

function make(facts) {
  if (facts.code === 'BIREME_WORKER_LOST') return new WorkerLost(facts.message, facts.properties.started);
  const Class = CLASSES.get(facts.code);
  if (Class !== undefined) return new Class(facts.message, facts.code);
  if (facts.language === 'python') return new PythonError(facts.message);
  const error = new (BUILT_IN.get(facts.type) ?? Error)(facts.message);
  if (error.name !== facts.type) hidden(error, 'name', facts.type);
  return error;
}

/** An error by its code, for what this side finds out itself. */
function callError(code, message) {
  const Class = CLASSES.get(code) ?? CallError;
  return new Class(message, code);
}

function hidden(object, name, value) {
  Object.defineProperty(object, name, { value, writable: true, enumerable: false, configurable: true });
}

function text(value) {
  return typeof value === 'string' ? value.toWellFormed() : '';
}

function inspect(value) {
  try {
    return require('node:util').inspect(value, { depth: 1, maxStringLength: 256 });
  } catch {
    return 'one that cannot be printed';
  }
}

module.exports = {
  CallCancelled, CallError, CallTargetNotFound, CallTimeout, CannotCross, PythonError, Released, ServiceBusy, SharedMemoryFull,
  WorkerLost, callError, errorOf, factsOf, plainFacts,
};
