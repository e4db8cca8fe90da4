'use strict';
// Sockets of fetch modules against a front that is played from protocol/README.md. How they look to real clients is
// tested end to end, in tests/e2e/test_websockets.py.

const assert = require('node:assert/strict');
const { test } = require('node:test');

const { FLAG, INITIAL_CREDIT_BYTES, MESSAGE_COST, TYPE } = require('../src/frames.js');
const { Handlers, openSocket } = require('../src/websocket.js');

/** A link that keeps what is written, and the socket of a request on it. */
function open(handlers, options) {
  const frames = [];
  const link = {
    streams: new Map(),
    resets: [],
    scheduleFlush() {},
    reset(stream, code, text) {
      this.streams.delete(stream);
      this.resets.push(text);
    },
    writer: {
      length: 0,
      text: '',
      begin(type, stream, aux) {
        frames.push({ type, stream, aux });
        return frames.length - 1;
      },
      appendUtf8(text) {
        this.text = text;
        this.length += Buffer.byteLength(text);
      },
      finish(start, flags) {
        Object.assign(frames[start], { flags, payload: this.text });
      },
      bytes: (type, stream, aux, flags, payload) => frames.push({ type, stream, aux, flags, payload: payload.toString('latin1') }),
      empty: (type, stream, aux, flags) => frames.push({ type, stream, aux, flags, payload: '' }),
      fieldList: (type, stream, aux, flags, fields) => frames.push({ type, stream, aux, flags, payload: fields.text }),
      credit: (stream, bytes) => frames.push({ type: TYPE.CREDIT, stream, bytes }),
    },
  };
  const service = { sockets: new Handlers(handlers) };
  const stream = openSocket({ link, id: 7, service, head: { remoteAddress: '::1' }, takeOver: null }, options);
  const receive = (payload, flags) => {
    const bytes = Buffer.from(payload);
    stream.onMessage(bytes, 0, bytes.length, flags);
  };
  return { frames, link, stream, receive, ws: stream.socket };
}

test('accepting says the headers and registers the stream', () => {
  const { frames, link, stream, ws } = open({}, { data: 1, headers: { 'X-A': 'b' } });
  assert.deepEqual(frames, [{ type: TYPE.WSACCEPT, stream: 7, aux: 0, flags: 0, payload: 'x-ab' }]);
  assert.equal(link.streams.get(7), stream);
  assert.deepEqual([ws.data, ws.readyState, ws.remoteAddress], [1, 1, '::1']);
});

test('messages come whole, whatever their pieces', () => {
  const seen = [];
  const { receive, ws } = open({ message: (_, data) => seen.push(data) });
  receive('he', FLAG.TEXT);
  receive('llo', FLAG.TEXT | FLAG.END);
  receive('€', FLAG.TEXT | FLAG.END);
  receive('\x00', FLAG.END);
  ws.binaryType = 'arraybuffer';
  receive('ab', FLAG.END);
  assert.deepEqual(seen.slice(0, 3), ['hello', '€', Buffer.from('\x00')]);
  assert.ok(seen[3] instanceof ArrayBuffer && seen[3].byteLength === 2);
});

test('without credit messages wait in order, and drain says when they are out', () => {
  const drains = [];
  const { frames, stream, ws } = open({ drain: (socket) => drains.push(socket.getBufferedAmount()), backpressureLimit: 1000 });
  // Four pieces, which leave one byte of credit.
  const bytes = INITIAL_CREDIT_BYTES - 4 * MESSAGE_COST;
  assert.equal(ws.send(Buffer.alloc(bytes - 1)), bytes - 1);
  assert.equal(ws.send('two'), -1);
  assert.equal(ws.send(''), -1);
  assert.equal(ws.send('x'.repeat(1000)), 0, 'past the limit it is dropped');
  ws.close(4000, 'later');
  assert.equal(ws.send('late'), 0);
  const before = frames.length;
  stream.onCredit(10_000);
  const after = frames.slice(before).map(({ type, payload }) => [type, payload]);
  assert.equal(after.filter(([type]) => type === TYPE.WSMESSAGE).map(([, payload]) => payload).join(''), 'two');
  assert.deepEqual(after.at(-1), [TYPE.WSCLOSE, 'later'], 'the close comes after what waited');
  assert.equal(ws.getBufferedAmount(), 0);
  assert.deepEqual(drains, [], 'a socket that closes is not told to go on');
});

test('a close that waits for a slow client can be cut short, once', () => {
  const { frames, stream, ws } = open({});
  ws.send(Buffer.alloc(INITIAL_CREDIT_BYTES));
  ws.close(1000, 'bye');
  ws.terminate();
  ws.terminate();
  stream.onCredit(1000);
  const closes = frames.filter(({ type }) => type === TYPE.WSCLOSE).map(({ aux }) => aux);
  assert.deepEqual([closes, ws.getBufferedAmount(), ws.readyState], [[1006], 0, 2]);
});

test('the credit of what was handed over is given back', () => {
  const { frames, receive } = open({});
  for (let i = 0; i < INITIAL_CREDIT_BYTES / MESSAGE_COST / 4; i++) receive('', FLAG.END);
  assert.deepEqual(frames.at(-1), { type: TYPE.CREDIT, stream: 7, bytes: INITIAL_CREDIT_BYTES / 4 });
});

test('a handler that fails costs its socket, and close comes once', async () => {
  const closes = [];
  const handlers = {
    message: async () => {
      throw new Error('asked to');
    },
    close: (_, code, reason) => closes.push([code, reason]),
  };
  const { link, receive, stream, ws } = open(handlers);
  receive('x', FLAG.TEXT | FLAG.END);
  await new Promise(setImmediate);
  assert.match(link.resets[0], /Error: asked to/);
  stream.onClose(1000, 'again');
  assert.deepEqual(closes, [[1011, '']]);
  assert.equal(ws.readyState, 3);
});

test('codes and handlers that make no sense are refused where they are written', () => {
  const { ws } = open({});
  for (const code of [999, 1005, 1006, 2999, 5000, 'x']) assert.throws(() => ws.close(code), RangeError);
  assert.throws(() => ws.close(1000, 'é'.repeat(62)), RangeError);
  assert.throws(() => ws.send({}), TypeError);
  assert.throws(() => new Handlers({ message: 1 }), TypeError);
  assert.throws(() => new Handlers({ backpressureLimit: -1 }), TypeError);
});
