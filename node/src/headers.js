'use strict';
// `Headers` for the requests and responses of fetch handlers. It follows the Fetch standard (§2.2 and §5.1) and exists
// because undici's own takes longer to fill than a small handler takes to run. It knows nothing of links.

const TOKEN = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;
// What a header value may not hold: NUL, CR and LF by the standard, and what is no byte.
const NOT_A_VALUE = /[\0\r\n]|[^\0-\xff]/;
const EDGE_WHITESPACE = /^[\t\n\r ]+|[\t\n\r ]+$/g;

// Applications use few names; checking and lowering each once is enough. Bounded, for a name may come from a client.
const KNOWN_NAMES_MAX = 512;
const knownNames = new Map();

/** The name in lower case. Throws the TypeError the standard asks for. */
function normalizeName(name) {
  const text = typeof name === 'string' ? name : String(name);
  const known = knownNames.get(text);
  if (known !== undefined) return known;
  if (!TOKEN.test(text)) throw new TypeError(`"${text}" is an invalid header name.`);
  const lower = text.toLowerCase();
  if (knownNames.size < KNOWN_NAMES_MAX) knownNames.set(text, lower);
  return lower;
}

function normalizeValue(value) {
  let text = typeof value === 'string' ? value : String(value);
  const first = text.charCodeAt(0);
  const last = text.charCodeAt(text.length - 1);
  if (first <= 32 || last <= 32) text = text.replace(EDGE_WHITESPACE, '');
  if (NOT_A_VALUE.test(text)) throw new TypeError(`"${text}" is an invalid header value.`);
  return text;
}

/** Fills `pairs` (`[name, value, …]`, names in lower case) from what `new Headers(init)` takes. */
function fillPairs(pairs, init) {
  if (init instanceof LeanHeaders) {
    pairs.push(...init.pairs);
    return;
  }
  if (init === null || (typeof init !== 'object' && typeof init !== 'function')) {
    throw new TypeError('Headers: init must be a sequence of pairs, a record, or a Headers object.');
  }
  if (typeof init[Symbol.iterator] === 'function') {
    for (const pair of init) {
      const entry = pair !== null && typeof pair === 'object' ? [...pair] : [];
      if (entry.length !== 2) throw new TypeError('Headers: each pair of init must have a name and a value.');
      pairs.push(normalizeName(entry[0]), normalizeValue(entry[1]));
    }
    return;
  }
  for (const name of Object.keys(init)) pairs.push(normalizeName(name), normalizeValue(init[name]));
}

/** `pairs` is taken over, not copied. */
class LeanHeaders {
  constructor(pairs) {
    this.pairs = pairs;
  }

  append(name, value) {
    this.pairs.push(normalizeName(name), normalizeValue(value));
  }

  delete(name) {
    const key = normalizeName(name);
    const { pairs } = this;
    let kept = 0;
    for (let i = 0; i < pairs.length; i += 2) {
      if (pairs[i] === key) continue;
      pairs[kept++] = pairs[i];
      pairs[kept++] = pairs[i + 1];
    }
    pairs.length = kept;
  }

  get(name) {
    const key = normalizeName(name);
    const { pairs } = this;
    let found = null;
    for (let i = 0; i < pairs.length; i += 2) {
      if (pairs[i] === key) found = found === null ? pairs[i + 1] : `${found}, ${pairs[i + 1]}`;
    }
    return found;
  }

  getSetCookie() {
    const { pairs } = this;
    const found = [];
    for (let i = 0; i < pairs.length; i += 2) if (pairs[i] === 'set-cookie') found.push(pairs[i + 1]);
    return found;
  }

  has(name) {
    const key = normalizeName(name);
    const { pairs } = this;
    for (let i = 0; i < pairs.length; i += 2) if (pairs[i] === key) return true;
    return false;
  }

  set(name, value) {
    const key = normalizeName(name);
    const text = normalizeValue(value);
    const { pairs } = this;
    for (let i = 0; i < pairs.length; i += 2) {
      if (pairs[i] !== key) continue;
      pairs[i + 1] = text;
      let kept = i + 2;
      for (let j = i + 2; j < pairs.length; j += 2) {
        if (pairs[j] === key) continue;
        pairs[kept++] = pairs[j];
        pairs[kept++] = pairs[j + 1];
      }
      pairs.length = kept;
      return;
    }
    pairs.push(key, text);
  }

  /** Sorted and combined, `set-cookie` apart (Fetch §2.2.2, "sort and combine"). */
  #sorted() {
    const { pairs } = this;
    const combined = new Map();
    const entries = [];
    for (let i = 0; i < pairs.length; i += 2) {
      const name = pairs[i];
      if (name === 'set-cookie') {
        entries.push([name, pairs[i + 1]]);
      } else {
        const before = combined.get(name);
        combined.set(name, before === undefined ? pairs[i + 1] : `${before}, ${pairs[i + 1]}`);
      }
    }
    entries.push(...combined);
    return entries.sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0));
  }

  *entries() {
    yield* this.#sorted();
  }
  *keys() {
    for (const [name] of this.#sorted()) yield name;
  }
  *values() {
    for (const [, value] of this.#sorted()) yield value;
  }

  forEach(callback, thisArgument) {
    if (typeof callback !== 'function') throw new TypeError('Headers.forEach: the callback is not a function.');
    for (const [name, value] of this.#sorted()) callback.call(thisArgument, value, name, this);
  }

  toJSON() {
    return Object.fromEntries(this.#sorted());
  }

  [Symbol.for('nodejs.util.inspect.custom')](_depth, options, inspect) {
    return `Headers ${inspect(Object.fromEntries(this.#sorted()), options)}`;
  }
}
Object.defineProperty(LeanHeaders.prototype, Symbol.iterator, {
  value: LeanHeaders.prototype.entries,
  writable: true,
  configurable: true,
});
Object.defineProperty(LeanHeaders.prototype, Symbol.toStringTag, { value: 'Headers', configurable: true });

module.exports = { LeanHeaders, fillPairs, normalizeName, normalizeValue };
