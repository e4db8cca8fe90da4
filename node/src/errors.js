'use strict';
// Errors the runtime itself raises. It knows nothing of links or HTTP.
//
// Where Node would throw one of its own coded errors and its constructor is out of reach, `nodeError` makes one that
// looks the same to an application: same class, same `code`, same message.

/** An error like those of node:internal/errors: `name [code]: message` in its stack, and `code` as a property. */
function nodeError(code, message, Base = Error) {
  const error = new Base(message);
  Object.defineProperty(error, 'code', { value: code, writable: true, enumerable: true, configurable: true });
  error.stack = String(error.stack).replace(error.name, `${error.name} [${code}]`);
  return error;
}

/** What the front sent does not follow protocol/README.md; the link is closed. */
class ProtocolError extends Error {
  constructor(message) {
    super(message);
    this.name = 'ProtocolError';
  }
}

/** The application broke HTTP's contract; its stream is reset with code PROTOCOL and this text. */
class ContractError extends Error {
  constructor(message) {
    super(message);
    this.name = 'ContractError';
  }
}

/** Text for the log: the stack with its chain of causes, or, for a thrown non-error, what it looks like. Never throws. */
function describe(error) {
  try {
    return require('node:util').inspect(error, { depth: 4, maxStringLength: 8192 });
  } catch {
    return 'an error that cannot be printed';
  }
}

/** One line for the log. Never throws. */
function summarize(error) {
  try {
    if (error instanceof Error) return `${error.name}: ${error.message}`.split('\n', 1)[0];
    return describe(error).split('\n', 1)[0];
  } catch {
    return 'an error that cannot be printed';
  }
}

module.exports = { ContractError, ProtocolError, describe, nodeError, summarize };
