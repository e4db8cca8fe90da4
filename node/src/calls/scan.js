'use strict';
// The names that a Python file gives to its importers, by a look at its text. Python is not asked, for a module must
// be importable before any Python runs, and running the file to learn its names would do what it does. What only
// running it would tell (names from `import *`, `globals()[…]`, `setattr`) is reached through the default export.

const NAME = /^[\p{XID_Start}_][\p{XID_Continue}]*$/u;
const BLOCK = /^(if|elif|else|try|except|finally|with|for|while|match|case|async\s+(for|with))\b/;

/** The names in `__all__` if it is a plain list, else the top-level functions, classes and variables without `_`. */
function namesOf(text) {
  const names = new Set();
  let all = null;
  // The indentations of the blocks that are open and belong to the module itself.
  let skipDeeper = Infinity;
  for (const { indent, code, strings } of logicalLines(text)) {
    if (indent > skipDeeper) continue;
    skipDeeper = Infinity;
    let rest = code.trim();
    const definition = /^(?:async\s+)?(?:def|class)\s+([\p{XID_Start}_][\p{XID_Continue}]*)/u.exec(rest);
    if (definition !== null) {
      names.add(definition[1]);
      skipDeeper = indent;
      continue;
    }
    if (BLOCK.test(rest)) {
      for (const name of boundByBlock(rest)) names.add(name);
      // `if x: y = 1` on one line.
      const colon = topLevel(rest, ':');
      rest = colon < 0 ? '' : rest.slice(colon + 1).trim();
    }
    for (const statement of splitTop(rest, ';')) {
      const listed = /^__all__\s*(?::[^=]*)?(\+?=)/.exec(statement.trim());
      if (listed !== null) all = [...(listed[1] === '+=' ? (all ?? []) : []), ...strings];
      else for (const name of assigned(statement.trim())) names.add(name);
    }
  }
  const found = all ?? [...names].filter((name) => !name.startsWith('_'));
  return [...new Set(found)].filter((name) => NAME.test(name));
}

/** Names on the left of `=`, `:=` not among them, and of `name: type = …`. */
function assigned(statement) {
  const parts = splitTop(statement, '=');
  if (parts.length < 2) return [];
  const names = [];
  for (let target of parts.slice(0, -1)) {
    target = target.trim();
    // `a.b`, `a[0]`, `a +=`, `a ==` bind nothing new.
    const annotated = /^([\p{XID_Start}_][\p{XID_Continue}]*)\s*:/u.exec(target);
    if (annotated !== null) names.push(annotated[1]);
    else if (/^type\s/.test(target)) names.push(target.slice(5).trim().replace(/\[.*/s, ''));
    else names.push(...targets(target));
  }
  return names.filter((name) => NAME.test(name));
}

/** The names of a target list: `a, (b, *c)`. */
function targets(text) {
  return text.replace(/[()[\]*\s]/g, (character) => (/\s/.test(character) ? ' ' : character === '[' ? '\0' : '')).split(',').map((name) => name.trim());
}

/** `for x in …` and `with … as x` bind names of the module. */
function boundByBlock(line) {
  const loop = /^(?:async\s+)?for\s+(.+?)\s+in\b/s.exec(line);
  if (loop !== null) return targets(loop[1]).filter((name) => NAME.test(name));
  if (!/^(?:async\s+)?with\b/.test(line)) return [];
  return [...line.matchAll(/\bas\s+([\p{XID_Start}_][\p{XID_Continue}]*)/gu)].map((found) => found[1]);
}

/** The first place of a character outside brackets, or -1. */
function topLevel(code, wanted) {
  let depth = 0;
  for (let i = 0; i < code.length; i++) {
    const character = code[i];
    if ('([{'.includes(character)) depth++;
    else if (')]}'.includes(character)) depth--;
    else if (depth === 0 && character === wanted) return i;
  }
  return -1;
}

function splitTop(code, separator) {
  const parts = [];
  let depth = 0;
  let start = 0;
  for (let i = 0; i < code.length; i++) {
    const character = code[i];
    if ('([{'.includes(character)) depth++;
    else if (')]}'.includes(character)) depth--;
    else if (depth === 0 && character === separator) {
      // `==`, `<=` and their like separate nothing; `+=` changes what is there already.
      if (separator === '=' && (code[i + 1] === '=' || '=!<>:+-*/%&|^@'.includes(code[i - 1] ?? ' '))) continue;
      parts.push(code.slice(start, i));
      start = i + 1;
    }
  }
  parts.push(code.slice(start));
  return parts;
}

/** Statements with their indentation; comments are gone, strings are empty and listed beside. */
function* logicalLines(text) {
  let at = 0;
  while (at < text.length) {
    const indent = /[ \t\f]*/y;
    indent.lastIndex = at;
    const [space] = indent.exec(text);
    const line = { indent: space.replaceAll('\t', '        ').length, code: '', strings: [] };
    at = readLine(text, at + space.length, line, '\n');
    if (line.code.trim() !== '') yield line;
  }
}

/** Reads code up to `end` outside brackets (a newline, or the brace of an f-string's field); returns what follows it. */
function readLine(text, start, line, end) {
  let at = start;
  let depth = 0;
  while (at < text.length) {
    const character = text[at];
    if (depth === 0 && character === end) return at + 1;
    if (character === '#') {
      while (at < text.length && text[at] !== '\n') at++;
      continue;
    }
    if (character === '\\' && text[at + 1] === '\n') {
      line.code += ' ';
      at += 2;
      continue;
    }
    if (character === '"' || character === "'") {
      at = readString(text, at, line);
      continue;
    }
    if ('([{'.includes(character)) depth++;
    else if (')]}'.includes(character)) depth--;
    line.code += character === '\n' || character === '\r' ? ' ' : character;
    at++;
  }
  return at;
}

/** Reads a string from its first quote; its prefix is the last word of the code so far. */
function readString(text, start, line) {
  const prefix = /[a-zA-Z]*$/.exec(line.code)[0].toLowerCase();
  if (/^[rbuft]{1,2}$/.test(prefix)) line.code = line.code.slice(0, line.code.length - prefix.length);
  const quote = text.startsWith(text[start].repeat(3), start) ? text[start].repeat(3) : text[start];
  const formatted = /^r?[ft]r?$/.test(prefix);
  let at = start + quote.length;
  const from = at;
  while (at < text.length && !text.startsWith(quote, at)) {
    if (text[at] === '\\') at += 2;
    else if (text[at] === '\n' && quote.length === 1) break;
    else if (formatted && text[at] === '{' && text[at + 1] === '{') at += 2;
    // Since Python 3.12 a field may hold the string's own quotes.
    else if (formatted && text[at] === '{') at = readLine(text, at + 1, { code: '', strings: [] }, '}');
    else at++;
  }
  line.code += '""';
  line.strings.push(text.slice(from, at));
  return at + quote.length;
}

module.exports = { namesOf };
