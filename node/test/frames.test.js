'use strict';
// The codec against `protocol/golden/`, which Rust and Python read too, and against cuts at every byte.

const assert = require('node:assert/strict');
const fs = require('node:fs');
const path = require('node:path');
const { describe, test } = require('node:test');

const { serve } = require('./fake-front.js');
const { FLAG, Fields, FrameReader, FrameWriter, RequestHead, TYPE, readFieldList } = require('../src/frames.js');
const { ProtocolError } = require('../src/errors.js');
const { readTakeOver } = require('../src/websocket.js');

const golden = JSON.parse(fs.readFileSync(path.join(__dirname, '..', '..', 'protocol', 'golden', 'frames.json'), 'utf8'));
const latin1 = (text) => Buffer.from(text, 'latin1');

/** What a reader delivers, copied out of its buffers. */
function collect(pieces) {
  const frames = [];
  const reader = new FrameReader((type, flags, stream, aux, buffer, start, end) => {
    frames.push({ type, flags, stream, aux, payload: Buffer.from(buffer.subarray(start, end)) });
  });
  for (const piece of pieces) reader.read(piece, piece.length);
  return frames;
}

function fieldsOf(list) {
  const fields = new Fields();
  for (const [name, value] of list) fields.add(name, value);
  return fields;
}

/** Encodes a golden frame as the worker does, or returns null for those only the front sends. */
function encode(frame) {
  const writer = new FrameWriter(() => assert.fail('a golden frame fits'));
  switch (frame.kind) {
    case 'RESPONSE': {
      const { reason, fields, body } = frame.response;
      const start = writer.beginResponse(frame.stream, frame.aux, reason, fieldsOf(fields), body.length * 3);
      writer.appendUtf8(body);
      writer.finish(start, frame.flags);
      break;
    }
    case 'TRAILERS':
    case 'INFORMATIONAL':
      writer.fieldList(TYPE[frame.kind], frame.stream, frame.aux, frame.flags, fieldsOf(frame.fields));
      break;
    case 'RESET':
      writer.reset(frame.stream, frame.aux, frame.payload);
      break;
    case 'CREDIT':
      writer.credit(frame.stream, frame.credit);
      break;
    case 'HELLO':
    case 'READY':
      writer.json(TYPE[frame.kind], frame.stream, frame.aux, JSON.parse(frame.payload));
      break;
    case 'DATA':
    case 'TUNNEL':
    case 'PONG':
      if (frame.payload === '') writer.empty(TYPE[frame.kind], frame.stream, frame.aux, frame.flags);
      else writer.bytes(TYPE[frame.kind], frame.stream, frame.aux, frame.flags, latin1(frame.payload));
      break;
    default:
      return null;
  }
  return writer.take();
}

describe('golden frames', () => {
  for (const frame of golden.frames) {
    const bytes = Buffer.from(frame.hex, 'hex');
    test(`${frame.kind}: ${frame.name}`, () => {
      const [read, ...rest] = collect([bytes]);
      assert.deepEqual(rest, []);
      assert.deepEqual([read.type, read.flags, read.stream, read.aux], [TYPE[frame.kind], frame.flags, frame.stream, frame.aux]);
      if (frame.kind === 'REQUEST') {
        const head = new RequestHead(read.payload, 0, read.payload.length);
        const want = frame.request;
        assert.deepEqual(
          {
            version: head.version, scheme: head.secure ? 'https' : 'http', remote_port: head.remotePort, local_port: head.localPort,
            method: head.method, target: head.target, remote_addr: head.remoteAddress, local_addr: head.localAddress,
            prefix: head.prefix, request_id: head.requestId, body: read.payload.latin1Slice(head.bodyStart),
          },
          Object.fromEntries(Object.entries(want).filter(([key]) => key !== 'fields')),
        );
        assert.deepEqual(head.rawFields(), want.fields.flat());
        for (const [name, value] of want.fields) assert.equal(head.field(name.toLowerCase()), value);
        assert.equal(head.field('not-there'), undefined);
        if (frame.take_over !== undefined) {
          const { subprotocol, topics } = frame.take_over;
          const found = readTakeOver(read.payload, head.bodyStart, read.payload.length);
          assert.deepEqual(found, { subprotocol, topics: topics.map(([topic]) => topic) });
        }
      } else if (frame.fields !== undefined) {
        assert.deepEqual(readFieldList(read.payload, 0, read.payload.length), frame.fields.flat());
      } else if (typeof frame.payload === 'string') {
        assert.equal(read.payload.latin1Slice(), frame.payload);
      }
      const encoded = encode(frame);
      if (encoded !== null) assert.equal(encoded.toString('hex'), frame.hex);
    });
  }

  for (const { name, hex } of golden.refused) {
    test(`refused: ${name}`, async (t) => {
      const front = await serve(t, { name: 'a.js', source: `require('http').createServer(() => {}).listen(0)` });
      front.request();
      front.links[0].write(Buffer.from(hex, 'hex'));
      await front.links[0].closed;
      assert.match(front.output, /link 0 closed: the front sent ProtocolError/);
    });
  }
});

test('cut anywhere, the frames are the same', () => {
  const all = Buffer.concat(golden.frames.map(({ hex }) => Buffer.from(hex, 'hex')));
  const whole = collect([all]);
  assert.equal(whole.length, golden.frames.length);
  for (let cut = 0; cut <= all.length; cut++) assert.deepEqual(collect([all.subarray(0, cut), all.subarray(cut)]), whole);
  const bytes = [];
  for (let i = 0; i < all.length; i++) bytes.push(all.subarray(i, i + 1));
  assert.deepEqual(collect(bytes), whole);
});

test('a request cut short is refused, not misread', () => {
  for (const { kind, hex } of golden.frames) {
    if (kind !== 'REQUEST') continue;
    const payload = Buffer.from(hex, 'hex').subarray(12);
    const whole = new RequestHead(payload, 0, payload.length);
    for (let end = 0; end < whole.bodyStart; end++) assert.throws(() => new RequestHead(payload, 0, end), ProtocolError);
  }
});

test('a writer hands over full buffers, takes long frames, and uses memory again', () => {
  const taken = [];
  const writer = new FrameWriter(() => taken.push(Buffer.from(writer.take())));
  for (let i = 1; i <= 40; i++) writer.bytes(TYPE.DATA, i, 0, FLAG.END, Buffer.alloc(10_000, i));
  writer.bytes(TYPE.DATA, 41, 0, 0, Buffer.alloc(500_000, 41));
  const last = writer.take();
  taken.push(Buffer.from(last));
  writer.giveBack(last);
  const frames = collect(taken);
  assert.deepEqual(frames.map(({ stream }) => stream), Array.from({ length: 41 }, (_, i) => i + 1));
  assert.ok(frames.every(({ stream, payload }) => payload.every((byte) => byte === stream)));
});

test('a text for the log is cut at its limit, between characters', () => {
  const writer = new FrameWriter(() => {});
  writer.reset(1, 2, 'é'.repeat(40_000));
  const [{ payload }] = collect([writer.take()]);
  assert.ok(payload.length <= 65_536 && payload.length > 65_000);
  assert.ok(!payload.toString().includes('\ufffd'));
});
