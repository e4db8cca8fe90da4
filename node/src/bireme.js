'use strict';
// What `require('bireme')` gives an application.

const { EventStream } = require('./event-stream.js');
const { presence, publish, subscribe, topics } = require('./topics.js');

module.exports = { EventStream, presence, publish, subscribe, topics };
