'use strict';
// What `require('bireme')` gives an application.

const { presence, publish, subscribe, topics } = require('./topics.js');

module.exports = { presence, publish, subscribe, topics };
