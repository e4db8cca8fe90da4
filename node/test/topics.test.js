'use strict';
// What a worker does with its topics, on a link that ends here.

const assert = require('node:assert/strict');
const { test } = require('node:test');

const { FLAG, FrameReader, FrameWriter, TYPE } = require('../src/frames.js');
const topics = require('../src/topics.js');

const link = { closed: false, name: 0, writer: new FrameWriter(() => {}), scheduleFlush() {} };

/** The types of the frames that have been written since the last time. */
function written() {
  const types = [];
  const bytes = Buffer.from(link.writer.take());
  new FrameReader((type) => types.push(type)).read(bytes, bytes.length);
  return types;
}

function receive(type, flags, topic, rest) {
  const length = Buffer.alloc(2);
  length.writeUInt16LE(topic.length);
  const payload = Buffer.concat([length, Buffer.from(topic), rest]);
  topics.onFrame(link, type, flags, payload, 0, payload.length);
}

function joins(topic, name, members) {
  const count = Buffer.alloc(4);
  count.writeUInt32LE(members);
  receive(TYPE.PRESENCE, FLAG.JOINED, topic, Buffer.concat([count, Buffer.from(name)]));
}

const turn = () => new Promise(setImmediate);

test('what is published while the program loads follows what it listens to', () => {
  topics.expect();
  topics.publish('early', 'message');
  topics.subscribe('early', () => {});
  topics.presence('early', () => {});
  topics.useLinks([link]);
  assert.deepEqual(written(), [TYPE.SUBSCRIBE, TYPE.SUBSCRIBE, TYPE.PUBLISH]);
});

test('who subscribes because of a message gets the next one', () => {
  let heard = 0;
  const open = [];
  const again = () => {
    heard++;
    open.shift().close();
    if (heard < 10) open.push(topics.subscribe('again', again));
  };
  open.push(topics.subscribe('again', again), topics.subscribe('again', again));
  receive(TYPE.MESSAGE, FLAG.TEXT, 'again', Buffer.from('one'));
  assert.equal(heard, 2);
  receive(TYPE.MESSAGE, FLAG.TEXT, 'again', Buffer.from('two'));
  assert.equal(heard, 4);
});

test('a second watcher is told once of who joins while it comes', async () => {
  const seen = [];
  topics.presence('room', () => {});
  joins('room', 'Ada', 1);
  topics.presence('room', ({ name, members }) => seen.push([name, members]));
  joins('room', 'Tim', 2);
  await turn();
  joins('room', 'Eve', 3);
  assert.deepEqual(seen, [['Ada', 2], ['Tim', 2], ['Eve', 3]]);
});
