'use strict';
// `require('bireme/socket.io-adapter')`: socket.io's servers in all workers as one, over topics. A namespace is a topic, and
// what is meant for one server another. It extends the adapter that the application's own socket.io brings.

const { createRequire } = require('node:module');
const path = require('node:path');
const { deserialize, serialize } = require('node:v8');

const { publish, subscribe } = require('./topics.js');

/** For `new Server(httpServer, { adapter: createAdapter() })`. Options: those of ClusterAdapterWithHeartbeat. */
function createAdapter(options = {}) {
  const { ClusterAdapterWithHeartbeat } = require(adapterOfApplication());

  class TopicAdapter extends ClusterAdapterWithHeartbeat {
    constructor(namespace) {
      super(namespace, options);
      this.topic = `socket.io:${namespace.name}`;
      const hear = (handle) => (data) => handle.call(this, deserialize(data));
      this.subscriptions = [
        subscribe(this.topic, hear(this.onMessage)),
        subscribe(`${this.topic}#${this.uid}`, hear(this.onResponse)),
      ];
    }

    async doPublish(message) {
      publish(this.topic, serialize(message));
      // Nothing is kept that could be asked for again.
      return undefined;
    }

    async doPublishResponse(requester, response) {
      publish(`${this.topic}#${requester}`, serialize(response));
    }

    close() {
      super.close();
      for (const subscription of this.subscriptions) subscription.close();
    }
  }

  // socket.io calls it with `new`.
  return function adapter(namespace) {
    return new TopicAdapter(namespace);
  };
}

/** Path of the module socket.io-adapter that the application's socket.io uses. */
function adapterOfApplication() {
  const application = createRequire(path.resolve(process.argv[1] ?? 'index.js'));
  try {
    return createRequire(application.resolve('socket.io')).resolve('socket.io-adapter');
  } catch (cause) {
    throw new Error('bireme/socket.io-adapter needs socket.io 4.8 or newer beside the application', { cause });
  }
}

module.exports = { createAdapter };
