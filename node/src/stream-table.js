'use strict';
// The open streams of a link by their number. It knows nothing of what a stream is but its `id`.
//
// A `Map` will not do. When one is rehashed, its old table keeps pointing to the new one and to all entries of that
// moment. As soon as one old table has been promoted to V8's old generation, everything after it hangs on it until the
// next major collection: all requests with an `await` in them survive, though each is dead a millisecond after it began.

/** Never fewer places; a power of two. */
const PLACES_MIN = 256;

/** Open addressing with linear probing; at most half of the places are taken. Numbers come in a row, so they rarely meet. */
class StreamTable {
  constructor() {
    this.places = new Array(PLACES_MIN).fill(undefined);
    this.size = 0;
  }

  get(id) {
    return this.places[this.#find(id)];
  }

  set(id, stream) {
    const at = this.#find(id);
    if (this.places[at] === undefined) this.size++;
    this.places[at] = stream;
    if (this.size * 2 > this.places.length) this.#grow();
  }

  delete(id) {
    const { places } = this;
    const mask = places.length - 1;
    let hole = this.#find(id);
    if (places[hole] === undefined) return;
    this.size--;
    // What lies behind the hole moves into it, unless it would then lie before its own place.
    for (let at = (hole + 1) & mask; places[at] !== undefined; at = (at + 1) & mask) {
      if (((at - places[at].id) & mask) < ((at - hole) & mask)) continue;
      places[hole] = places[at];
      hole = at;
    }
    places[hole] = undefined;
  }

  clear() {
    this.places.fill(undefined);
    this.size = 0;
  }

  values() {
    return this.places.filter((stream) => stream !== undefined);
  }

  /** Where the stream is, or where it would be. */
  #find(id) {
    const { places } = this;
    const mask = places.length - 1;
    let at = id & mask;
    while (places[at] !== undefined && places[at].id !== id) at = (at + 1) & mask;
    return at;
  }

  #grow() {
    const before = this.places;
    this.places = new Array(before.length * 2).fill(undefined);
    for (const stream of before) if (stream !== undefined) this.places[this.#find(stream.id)] = stream;
    before.fill(undefined);
  }
}

module.exports = { StreamTable };
