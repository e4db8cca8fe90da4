'use strict';
// Topics: what this worker publishes, and which of its sockets have joined; see "Topics" in protocol/README.md. The
// front delivers to sockets; nothing of that passes here.

const { FLAG, HEADER_BYTES, MESSAGE_COST, PAYLOAD_BYTES_MAX, PUBLISH_CREDIT_BYTES, TYPE } = require('./frames.js');
const { ProtocolError } = require('./errors.js');

const TOPIC_BYTES_MAX = 256;
const MEMBER_NAME_BYTES_MAX = 256;
/** Topics that one socket may join. */
const TOPICS_PER_SOCKET_MAX = 1024;
/** What waits for the front's credit, over all topics; beyond, messages are refused. */
const QUEUE_BYTES_MAX = 16 * 1024 * 1024;
/** Names whose bytes are kept, so that a busy topic's are encoded once. */
const NAMES_KEPT = 1024;

const names = new Map();
let links = [];
let publishers = [];
let queuedBytes = 0;

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

function indexOf(name) {
  if (links.length === 0) throw new Error('topics can be used once the service has started');
  return name.hash % links.length;
}

/** The links are open. */
function useLinks(dataLinks) {
  links = dataLinks;
  publishers = dataLinks.map((link) => new Publisher(link));
}

/**
 * Publishes a string or bytes to every socket that has joined. Returns the message's bytes, -1 if it waits for
 * sockets that are slow, 0 if so much waits already that it was refused. `socket` does not get it.
 */
function publish(topic, data, socket) {
  const name = nameOf(topic);
  const shared = typeof data !== 'string';
  const bytes = shared ? bytesOf(data) : Buffer.from(data);
  const payload = name.bytes.length + bytes.length;
  if (payload > PAYLOAD_BYTES_MAX - HEADER_BYTES) {
    throw new RangeError(`publish() of ${bytes.length} bytes; a topic's messages take less than 1 MiB`);
  }
  const cost = payload + MESSAGE_COST;
  const publisher = publishers[indexOf(name)];
  if (queuedBytes + cost > QUEUE_BYTES_MAX) return 0;
  const [stream, home] = socket === undefined ? [0, 0] : [socket.id, socket.link.name];
  const sent = publisher.publish({ name: name.bytes, data: bytes, text: shared ? 0 : FLAG.TEXT, stream, home, cost, shared });
  return sent ? bytes.length : -1;
}

/** A socket joins a topic, under a name that those who watch it are told. */
function join(socket, topic, as) {
  const name = nameOf(topic);
  const link = links[indexOf(name)];
  const member = Buffer.from(as);
  if (member.length > MEMBER_NAME_BYTES_MAX) throw new RangeError(`a member's name takes at most ${MEMBER_NAME_BYTES_MAX} bytes`);
  if (socket.topics.has(topic)) return;
  if (socket.topics.size >= TOPICS_PER_SOCKET_MAX) throw new RangeError(`a socket joins at most ${TOPICS_PER_SOCKET_MAX} topics`);
  socket.topics.add(topic);
  put(link, TYPE.SUBSCRIBE, 0, socket.id, socket.link.name, name.bytes, member);
}

function leave(socket, topic) {
  if (!socket.topics.delete(topic)) return;
  const name = nameOf(topic);
  put(links[indexOf(name)], TYPE.UNSUBSCRIBE, 0, socket.id, socket.link.name, name.bytes, Buffer.alloc(0));
}

/** CREDIT for the link itself: more may be published. */
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

module.exports = { join, leave, onCredit, publish, useLinks };
