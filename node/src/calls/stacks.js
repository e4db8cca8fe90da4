'use strict';
// Stacks that read across languages: JavaScript's are cut into frames with their source lines, and an error that came
// over a link shows the frames of both sides in one list. It knows nothing of links.

const fs = require('node:fs');
const path = require('node:path');
const { fileURLToPath } = require('node:url');

/** This runtime's own files do not belong to anybody's stack. */
const RUNTIME = path.dirname(__dirname) + path.sep;
/** Files whose lines are kept, and the longest that is read for them. */
const FILES_MAX = 32;
const FILE_BYTES_MAX = 4 * 1024 * 1024;
const LINE_LENGTH_MAX = 200;

const kStack = Symbol('bireme.stack');
const files = new Map();

/** `[file, line, column, function, source line, "javascript"]` of a stack, innermost last. */
function framesOf(error, stack) {
  const frames = [];
  for (const line of stack.split('\n')) {
    const found = /^ {4}at (?:async )?(?:(.*) \((.*):(\d+):(\d+)\)|(.*):(\d+):(\d+))$/.exec(line);
    if (found === null) continue;
    const [, name = '', named, namedLine, namedColumn, bare, bareLine, bareColumn] = found;
    const file = fileOf(named ?? bare);
    if (file === null) continue;
    const number = Number(namedLine ?? bareLine);
    frames.push([file, number, Number(namedColumn ?? bareColumn), name, sourceLine(file, number), 'javascript']);
  }
  return frames.reverse();
}

/** The path of a frame's file, or null for what is Node's or ours. */
function fileOf(place) {
  let file = place.replace(/^async /, '');
  if (file.startsWith('file://')) {
    try {
      file = fileURLToPath(file);
    } catch {
      return null;
    }
  }
  return path.isAbsolute(file) && !file.startsWith(RUNTIME) ? file : null;
}

function sourceLine(file, number) {
  let lines = files.get(file);
  if (lines === undefined) {
    try {
      lines = fs.statSync(file).size <= FILE_BYTES_MAX ? fs.readFileSync(file, 'utf8').split('\n') : [];
    } catch {
      lines = [];
    }
    if (files.size >= FILES_MAX) files.delete(files.keys().next().value);
    files.set(file, lines);
  }
  return (lines[number - 1] ?? '').trim().slice(0, LINE_LENGTH_MAX);
}

/** The stack of this process alone. */
function ownStack(error) {
  const own = error[kStack] ?? error.stack;
  return typeof own === 'string' ? own : '';
}

/** Gives an error the frames of both sides: `frames`, outermost first, and a `stack` as V8 writes them. */
function join(error, facts) {
  Object.defineProperty(error, kStack, { value: error.stack, configurable: true });
  let frames;
  let stack;
  Object.defineProperty(error, 'frames', {
    get: () => (frames ??= [...framesOf(error, ownStack(error)), ...facts.frames]),
    configurable: true,
  });
  Object.defineProperty(error, 'stack', {
    get: () => (stack ??= render(error, facts)),
    set: (value) => (stack = value),
    configurable: true,
  });
}

function render(error, facts) {
  const kind = facts.type === error.name || facts.type === '' ? error.name : `${error.name} [${facts.type}]`;
  const lines = [error.message === '' ? kind : `${kind}: ${error.message}`];
  for (const note of facts.notes) lines.push(note);
  for (const [file, line, column, name, source] of [...error.frames].reverse()) {
    const place = column > 0 ? `${file}:${line}:${column}` : `${file}:${line}`;
    lines.push(name === '' ? `    at ${place}` : `    at ${name} (${place})`);
    if (source !== '') lines.push(`        ${source}`);
  }
  return lines.join('\n');
}

module.exports = { framesOf, join, ownStack };
