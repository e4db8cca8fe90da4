'use strict';
// What `bireme` gives to those who import or require it. The list is written out so that Node finds the names of a
// CommonJS module without running it.

const {
  CallCancelled, CallError, CallTargetNotFound, CallTimeout, CannotCross, PythonError, Released, ServiceBusy, SharedMemoryFull, WorkerLost,
} = require('./calls/errors.js');
const { release: releaseHandle } = require('./calls/handles.js');
const { signal } = require('./calls/incoming.js');
const memory = require('./calls/memory.js');
const { python, value } = require('./calls/python.js');
const { RemoteObject } = require('./calls/remote.js');
const { idempotent } = require('./calls/target.js');
const {
  ArrowTable, Decimal, Duration, NdArray, PlainDate, PlainDateTime, PlainTime, Uuid, ZonedDate,
} = require('./calls/types.js');
const { EventStream } = require('./event-stream.js');
const { TopicsFull, TopicsUnavailable, presence, publish, subscribe, topics } = require('./topics.js');

const { shared } = memory;

/** Lets go of a function, object, stream or shared array now, instead of when it is collected as garbage. */
const release = (value) => (ArrayBuffer.isView(value) ? memory.release(value) : releaseHandle(value));

module.exports = {
  ArrowTable, CallCancelled, CallError, CallTargetNotFound, CallTimeout, CannotCross, Decimal, Duration, EventStream, NdArray,
  PlainDate, PlainDateTime, PlainTime, PythonError, Released, RemoteObject, ServiceBusy, SharedMemoryFull, TopicsFull, TopicsUnavailable,
  Uuid, WorkerLost, ZonedDate, idempotent, presence, publish, python, release, shared, signal, subscribe, topics, value,
};
