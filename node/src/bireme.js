'use strict';
// What `bireme` gives to those who import or require it. The list is written out so that Node finds the names of a
// CommonJS module without running it.

const {
  CallCancelled, CallError, CallTargetNotFound, CallTimeout, CannotCross, PythonError, Released, ServiceBusy, WorkerLost,
} = require('./calls/errors.js');
const { release } = require('./calls/handles.js');
const { signal } = require('./calls/incoming.js');
const { python, value } = require('./calls/python.js');
const { RemoteObject } = require('./calls/remote.js');
const {
  ArrowTable, Decimal, Duration, NdArray, PlainDate, PlainDateTime, PlainTime, Uuid, ZonedDate,
} = require('./calls/types.js');
const { EventStream } = require('./event-stream.js');
const { presence, publish, subscribe, topics } = require('./topics.js');

module.exports = {
  ArrowTable, CallCancelled, CallError, CallTargetNotFound, CallTimeout, CannotCross, Decimal, Duration, EventStream, NdArray,
  PlainDate, PlainDateTime, PlainTime, PythonError, Released, RemoteObject, ServiceBusy, Uuid, WorkerLost, ZonedDate, presence,
  publish, python, release, signal, subscribe, topics, value,
};
