'use strict';
// Messages that are longer than a frame: cut into frames on their way out, and put together again; see DATA in
// protocol/calls.md.

const { HEADER_BYTES, PAYLOAD_BYTES_MAX, TYPE } = require('../frames.js');
const { ProtocolError } = require('../errors.js');
const { FLAG } = require('./codes.js');

/** Messages that have begun and whose DATA has not ended, on one link. */
const ASSEMBLIES_MAX = 1024;

/** Ends a message of any length, cutting it into frames: the pieces move apart, the last one first. */
function finishMessage(writer, start, flags) {
  const bytes = writer.length - start - HEADER_BYTES;
  const pieces = Math.max(1, Math.ceil(bytes / PAYLOAD_BYTES_MAX));
  if (pieces === 1) {
    writer.finish(start, flags | FLAG.END);
    return;
  }
  writer.reserve((pieces - 1) * HEADER_BYTES);
  const { buffer } = writer;
  const from = start + HEADER_BYTES;
  for (let i = pieces - 1; i > 0; i--) {
    const length = Math.min(PAYLOAD_BYTES_MAX, bytes - i * PAYLOAD_BYTES_MAX);
    const source = from + i * PAYLOAD_BYTES_MAX;
    const target = source + i * HEADER_BYTES;
    buffer.copyWithin(target, source, source + length);
    const header = target - HEADER_BYTES;
    buffer.writeUInt32LE(length, header);
    buffer.copy(buffer, header + 4, start + 4, start + 8);
    buffer.writeUInt32LE(TYPE.DATA | ((i === pieces - 1 ? FLAG.END : 0) << 8), header + 8);
  }
  buffer.writeUInt32LE(PAYLOAD_BYTES_MAX, start);
  buffer[start + 9] = flags;
  writer.length += (pieces - 1) * HEADER_BYTES;
}

/** What has come of messages that are not whole, by stream. */
class Assemblies {
  constructor(bytesMax) {
    this.bytesMax = bytesMax;
    this.begun = new Map();
  }

  /** `known` is false for what nobody waits for any more: it is passed over. Throws `ProtocolError`. */
  begin({ type, flags }, stream, piece, known) {
    if (this.begun.size >= ASSEMBLIES_MAX || this.begun.has(stream)) throw new ProtocolError('too many messages at once');
    const assembly = { type, flags, pieces: [], bytes: 0, known };
    this.begun.set(stream, assembly);
    this.#append(assembly, piece);
  }

  /** DATA: the message `{ type, flags, payload }` if this was its end, else null. Throws `ProtocolError`. */
  goOn(ends, stream, piece) {
    const assembly = this.begun.get(stream);
    if (assembly === undefined) throw new ProtocolError('DATA that goes on with nothing');
    this.#append(assembly, piece);
    if (!ends) return null;
    this.begun.delete(stream);
    const { type, flags, pieces, known } = assembly;
    return known ? { type, flags, payload: Buffer.concat(pieces) } : null;
  }

  #append(assembly, piece) {
    assembly.bytes += piece.length;
    if (!assembly.known) return;
    if (assembly.bytes > this.bytesMax) throw new ProtocolError(`a message of more than ${this.bytesMax} bytes`);
    assembly.pieces.push(Buffer.from(piece));
  }

  clear() {
    this.begun.clear();
  }
}

module.exports = { Assemblies, finishMessage };
