'use strict';
// Topics: what this worker publishes, which of its sockets have joined, and what it listens to itself; see "Topics" in
// protocol/README.md. The front delivers to sockets; nothing of that passes here.

const { Subscription } = require('./subscription.js');
const { FLAG, HEADER_BYTES, MESSAGE_COST, PAYLOAD_BYTES_MAX, PUBLISH_CREDIT_BYTES, TYPE } = require('./frames.js');
const { ProtocolError } = require('./errors.js');

const TOPIC_BYTES_MAX = 256;
const MEMBER_NAME_BYTES_MAX = 256;
/** Topics that one socket may join. */
const TOPICS_PER_SOCKET_MAX = 1024;
/** What waits for the front's credit, over all topics; beyond, messages are refused. */
const QUEUE_BYTES_MAX = 16 * 1024 * 1024;
/** Open at once in one worker, of either kind. The front holds a worker to as many topics. */
const SUBSCRIPTIONS_MAX = 65_536;
/** Names whose bytes are kept, so that a busy topic's are encoded once. */
const NAMES_KEPT = 1024;
const NOTHING = Buffer.alloc(0);

const names = new Map();
let links = [];
let publishers = [];
let queuedBytes = 0;
let openSubscriptions = 0;
/** Whether there are or will be links. */
let expected = false;
/** What was asked for while the program was loaded, before there were links. */
let early = [];
/** Topic to its open subscriptions, for messages and for who comes and goes. */
const listeners = new Map();
const watchers = new Map();
/** Topic that is watched to its named members and how often each is there, for those who come to watch later. */
const present = new Map();
/** Who has come to watch in this turn. Who is there by its end includes all that happens until then, which is told no other way. */
const newWatchers = new Set();
/** What the front is being asked, and those who want the answer to the next question. */
let question = null;
let askers = [];
let lastQuestion = 0;

/** This process is no worker of a service that serves requests, and has no topics. */
class TopicsUnavailable extends Error {
  constructor() {
    super(
      'topics are for the workers of services that serve requests; this process takes calls alone, or Bireme does not serve' +
        ' with it: publish and subscribe in a service, and call a function of it from here',
    );
    this.name = 'TopicsUnavailable';
    this.code = 'BIREME_TOPICS_UNAVAILABLE';
  }
}

/** So many subscriptions are open that there can be no more. */
class TopicsFull extends Error {
  constructor() {
    super(`${SUBSCRIPTIONS_MAX} subscriptions are open in this worker; close those that are not needed`);
    this.name = 'TopicsFull';
    this.code = 'BIREME_TOPICS_FULL';
  }
}

/** What one link may still send, and what waits for more. */
class Publisher {
  constructor(link) {
    this.link = link;
    this.credit = PUBLISH_CREDIT_BYTES;
    this.queue = [];
  }

  /** Returns whether the message is out, and not only kept for later. */
  publish(frame) {
    if (this.queue.length === 0 && this.credit >= frame.cost) {
      this.#put(frame);
      return true;
    }
    // What the application goes on writing to must not change what it has published.
    if (frame.shared) frame.data = Buffer.from(frame.data);
    this.queue.push(frame);
    queuedBytes += frame.cost;
    return false;
  }

  grant(bytes) {
    this.credit += bytes;
    let done = 0;
    for (; done < this.queue.length && this.credit >= this.queue[done].cost; done++) {
      queuedBytes -= this.queue[done].cost;
      this.#put(this.queue[done]);
    }
    this.queue.splice(0, done);
  }

  #put({ name, data, text, stream, home, cost }) {
    this.credit -= cost;
    put(this.link, TYPE.PUBLISH, text, stream, home, name, data);
  }
}

/** Appends a frame whose payload begins with a topic's name. */
function put(link, type, flags, stream, aux, name, rest) {
  if (link.closed) return;
  const { writer } = link;
  const start = writer.begin(type, stream, aux, name.length + rest.length);
  writer.appendBytes(name);
  writer.appendBytes(rest);
  writer.finish(start, flags);
  link.scheduleFlush();
}

/** A topic's name as payloads begin with it, and the number of its link: FNV-1a, as everywhere. */
function nameOf(topic) {
  const known = names.get(topic);
  if (known !== undefined) return known;
  if (typeof topic !== 'string' || topic === '') throw new TypeError('a topic is a string that is not empty');
  const text = Buffer.from(topic);
  if (text.length > TOPIC_BYTES_MAX) throw new RangeError(`a topic's name takes at most ${TOPIC_BYTES_MAX} bytes, not ${text.length}`);
  let hash = 0x811c9dc5;
  for (const byte of text) hash = Math.imul(hash ^ byte, 0x01000193) >>> 0;
  const bytes = Buffer.concat([Buffer.from([text.length, text.length >>> 8]), text]);
  const name = { bytes, hash };
  if (names.size >= NAMES_KEPT) names.delete(names.keys().next().value);
  names.set(topic, name);
  return name;
}

function linkOf(name) {
  return links[name.hash % links.length];
}

/** There will be links. */
function expect() {
  expected = true;
}

function checkExpected() {
  if (!expected) throw new TopicsUnavailable();
}

/** The links are open. */
function useLinks(dataLinks) {
  links = dataLinks;
  publishers = dataLinks.map((link) => new Publisher(link));
  for (const topic of listeners.keys()) listen(topic, TYPE.SUBSCRIBE, 0);
  for (const topic of watchers.keys()) listen(topic, TYPE.SUBSCRIBE, FLAG.PRESENCE);
  // Behind them: this worker, too, gets what it has published. What cannot go at once is counted again.
  queuedBytes = 0;
  for (const frame of early) enqueue(frame);
  early = [];
}

function enqueue(frame) {
  return publishers[frame.hash % links.length].publish(frame);
}

/**
 * Publishes a string or bytes to every socket that has joined. Returns the message's bytes, -1 if it waits for
 * sockets that are slow, 0 if so much waits already that it was refused. `socket` does not get it.
 */
function publish(topic, data, socket) {
  checkExpected();
  const name = nameOf(topic);
  const shared = typeof data !== 'string';
  const bytes = shared ? bytesOf(data) : Buffer.from(data);
  const payload = name.bytes.length + bytes.length;
  if (payload > PAYLOAD_BYTES_MAX - HEADER_BYTES) {
    throw new RangeError(`publish() of ${bytes.length} bytes; a topic's messages take less than 1 MiB`);
  }
  const cost = payload + MESSAGE_COST;
  if (queuedBytes + cost > QUEUE_BYTES_MAX) return 0;
  const [stream, home] = socket === undefined ? [0, 0] : [socket.id, socket.link.name];
  const frame = { name: name.bytes, hash: name.hash, data: bytes, text: shared ? 0 : FLAG.TEXT, stream, home, cost, shared };
  if (links.length === 0) {
    if (shared) frame.data = Buffer.from(bytes);
    queuedBytes += cost;
    early.push(frame);
    return -1;
  }
  return enqueue(frame) ? bytes.length : -1;
}

/** A socket joins a topic, under a name that those who watch it are told. */
function join(socket, topic, as) {
  const name = nameOf(topic);
  const member = Buffer.from(as);
  if (member.length > MEMBER_NAME_BYTES_MAX) throw new RangeError(`a member's name takes at most ${MEMBER_NAME_BYTES_MAX} bytes`);
  if (socket.topics.has(topic)) return;
  if (socket.topics.size >= TOPICS_PER_SOCKET_MAX) throw new RangeError(`a socket joins at most ${TOPICS_PER_SOCKET_MAX} topics`);
  socket.topics.add(topic);
  put(linkOf(name), TYPE.SUBSCRIBE, 0, socket.id, socket.link.name, name.bytes, member);
}

function leave(socket, topic) {
  if (!socket.topics.delete(topic)) return;
  const name = nameOf(topic);
  put(linkOf(name), TYPE.UNSUBSCRIBE, 0, socket.id, socket.link.name, name.bytes, NOTHING);
}

/**
 * Listens to a topic: `callback(data, topic)` gets each message, a string or a Buffer; without one the subscription is
 * iterated, `for await (const data of subscribe(topic))`. Either ends with `close()`.
 */
function subscribe(topic, callback) {
  return open(listeners, 0, topic, callback);
}

/** Who joins and leaves: as `subscribe`, with `{ joined, name, members }`, first for each named member that is there. */
function presence(topic, callback) {
  return open(watchers, FLAG.PRESENCE, topic, callback);
}

function open(table, flag, topic, callback) {
  checkExpected();
  nameOf(topic);
  if (callback !== undefined && typeof callback !== 'function') throw new TypeError('the callback of a subscription is no function');
  if (openSubscriptions >= SUBSCRIPTIONS_MAX) throw new TopicsFull();
  openSubscriptions++;
  const subscription = new Subscription(topic, callback, () => {
    openSubscriptions--;
    const open = table.get(topic);
    open.delete(subscription);
    if (open.size > 0) return;
    table.delete(topic);
    if (table === watchers) present.delete(topic);
    listen(topic, TYPE.UNSUBSCRIBE, flag);
  });
  const open = table.get(topic);
  if (open === undefined) {
    table.set(topic, new Set([subscription]));
    // The front tells a new watcher who is there.
    listen(topic, TYPE.SUBSCRIBE, flag);
  } else {
    open.add(subscription);
    if (table === watchers) {
      newWatchers.add(subscription);
      process.nextTick(tellWhoIsThere, subscription, topic);
    }
  }
  return subscription;
}

function tellWhoIsThere(subscription, topic) {
  newWatchers.delete(subscription);
  const { names, members } = present.get(topic) ?? { names: [], members: 0 };
  for (const [name, count] of names) {
    for (let i = 0; i < count; i++) subscription.give({ joined: true, name, members }, name.length);
  }
}

function onPresence(topic, event, bytes) {
  let there = present.get(topic);
  if (there === undefined) present.set(topic, (there = { names: new Map(), members: 0 }));
  there.members = event.members;
  if (event.name !== '') {
    const count = (there.names.get(event.name) ?? 0) + (event.joined ? 1 : -1);
    if (count > 0) there.names.set(event.name, count);
    else there.names.delete(event.name);
  }
  for (const subscription of [...watchers.get(topic)]) if (!newWatchers.has(subscription)) subscription.give(event, bytes);
}

function listen(topic, type, flag) {
  if (links.length === 0) return;
  const name = nameOf(topic);
  put(linkOf(name), type, flag, 0, 0, name.bytes, NOTHING);
}

/** All topics that have subscribers, by name: `{ sockets, workers }`, how many of each. */
async function topics() {
  checkExpected();
  if (links.length === 0) throw new Error('topics() can be asked once the service has started');
  if (links.some((link) => link.closed)) throw new Error('topics() while the worker stops');
  const answer = new Promise((resolve) => askers.push(resolve));
  askNext();
  return answer;
}

/** Asks the front for all who want to know, unless it is being asked: one question at a time bounds what it answers. */
function askNext() {
  if (question !== null || askers.length === 0) return;
  const number = (lastQuestion = (lastQuestion + 1) >>> 0);
  question = { number, askers, waiting: links.length, found: {} };
  askers = [];
  const payload = Buffer.alloc(4);
  payload.writeUInt32LE(number);
  for (const link of links) {
    link.writer.bytes(TYPE.QUERY, 0, 0, 0, payload);
    link.scheduleFlush();
  }
}

/** A frame of the front for the link itself. */
function onFrame(link, type, flags, buffer, start, end) {
  switch (type) {
    case TYPE.CREDIT:
      if (end - start !== 4) throw new ProtocolError('a CREDIT that is not 4 bytes');
      onCredit(link, buffer.readUInt32LE(start));
      break;
    case TYPE.MESSAGE: {
      const [topic, at] = readName(buffer, start, end);
      const text = (flags & FLAG.TEXT) !== 0;
      // Of a copy: who subscribes because of this message gets the next one.
      for (const subscription of [...(listeners.get(topic) ?? [])]) {
        // Each gets bytes of its own.
        subscription.give(text ? buffer.utf8Slice(at, end) : Buffer.from(buffer.subarray(at, end)), end - at);
      }
      break;
    }
    case TYPE.PRESENCE: {
      const [topic, at] = readName(buffer, start, end);
      if (at + 4 > end) throw new ProtocolError('a PRESENCE that is too short');
      const event = { joined: (flags & FLAG.JOINED) !== 0, name: buffer.utf8Slice(at + 4, end), members: buffer.readUInt32LE(at) };
      if (watchers.has(topic)) onPresence(topic, event, end - start);
      break;
    }
    case TYPE.ANSWER:
      onAnswer(flags, buffer, start, end);
      break;
    default:
      throw new ProtocolError(`frame type ${type} for the link itself`);
  }
}

function onAnswer(flags, buffer, start, end) {
  if (end - start < 4) throw new ProtocolError('an ANSWER that is too short');
  if (question === null || buffer.readUInt32LE(start) !== question.number) throw new ProtocolError('an ANSWER to no question');
  for (let at = start + 4; at < end; ) {
    const [topic, next] = readName(buffer, at, end);
    if (next + 8 > end) throw new ProtocolError('an ANSWER that is too short');
    question.found[topic] = { sockets: buffer.readUInt32LE(next), workers: buffer.readUInt32LE(next + 4) };
    at = next + 8;
  }
  if ((flags & FLAG.END) === 0 || --question.waiting > 0) return;
  const answered = question;
  question = null;
  // Each may do with it what it likes.
  for (const resolve of answered.askers) resolve(structuredClone(answered.found));
  askNext();
}

/** The topic at `start` and where it ends. */
function readName(buffer, start, end) {
  const at = start + 2 + (start + 2 <= end ? buffer.readUInt16LE(start) : end);
  if (at > end) throw new ProtocolError("a topic's name that is cut short");
  return [buffer.utf8Slice(start + 2, at), at];
}

function onCredit(link, bytes) {
  const publisher = publishers.find((one) => one.link === link);
  if (publisher === undefined) throw new ProtocolError('CREDIT for a link that publishes nothing');
  publisher.grant(bytes);
}

function bytesOf(data) {
  if (ArrayBuffer.isView(data)) return Buffer.from(data.buffer, data.byteOffset, data.byteLength);
  if (data instanceof ArrayBuffer || data instanceof SharedArrayBuffer) return Buffer.from(data);
  throw new TypeError('publish() takes a string or bytes');
}

module.exports = { TopicsFull, TopicsUnavailable, expect, join, leave, onFrame, presence, publish, subscribe, topics, useLinks };
