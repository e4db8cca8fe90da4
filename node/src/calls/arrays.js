'use strict';
// Typed arrays as values: tags 64 to 87 of RFC 8746, little-endian, as every machine is that Bireme runs on. Both
// directions copy once.

const TAGS = new Map([
  [Uint8ClampedArray, 68], [Uint16Array, 69], [Uint32Array, 70], [BigUint64Array, 71], [Int8Array, 72], [Int16Array, 77],
  [Int32Array, 78], [BigInt64Array, 79], [Float32Array, 85], [Float64Array, 86],
]);
if (globalThis.Float16Array !== undefined) TAGS.set(globalThis.Float16Array, 84);

const CLASSES = new Map([[64, Uint8Array], ...[...TAGS].map(([Class, tag]) => [tag, Class])]);

/** The memory of a view as bytes. */
function bytesOf(view) {
  return new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
}

/** An array of `Class` with memory of its own, from bytes of a buffer that will be used again. */
function arrayOf(Class, buffer, start, end) {
  const from = buffer.byteOffset + start;
  return new Class(buffer.buffer.slice(from, from + end - start));
}

module.exports = { CLASSES, TAGS, arrayOf, bytesOf };
