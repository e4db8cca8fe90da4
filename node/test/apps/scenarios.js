'use strict';
// What node:http promises, one route a promise. The test runs this program under plain node and as a worker and
// compares what the client and the program saw. Each handler notes what it sees; `/log` tells.

const http = require('node:http');
const { finished, pipeline, Readable } = require('node:stream');

const logs = new Map();

function caught(note, what, run) {
  try {
    const value = run();
    note(what, value === undefined || typeof value === 'object' ? typeof value : value);
  } catch (error) {
    note(what, error.name, error.code, error.message);
  }
}

/** Notes the events of a request and its response in the order they come. */
function watch(note, req, res) {
  for (const event of ['aborted', 'close', 'end', 'error']) req.on(event, (error) => note(`req ${event}`, error?.code));
  watchResponse(note, res);
}
function watchResponse(note, res) {
  for (const event of ['prefinish', 'finish', 'close', 'error']) {
    res.on(event, (error) => {
      note(`res ${event}`, error?.code, res.finished, res.writableEnded, res.writableFinished, res.headersSent, res.destroyed);
    });
  }
}

const scenarios = {
  simple(note, req, res) {
    watch(note, req, res);
    note(req.method, req.url, req.httpVersion, req.complete, req.readableEnded, res.headersSent, res.statusCode);
    res.end('hello', () => note('end callback'));
    note(res.headersSent, res.finished, res.writableEnded, res.statusMessage);
  },
  unread(note, req, res) {
    watchResponse(note, res);
    res.setHeader('X-A', '1');
    res.end(Buffer.from('hello'));
  },
  body(note, req, res) {
    watch(note, req, res);
    const chunks = [];
    req.setEncoding('utf8');
    req.on('data', (chunk) => chunks.push(chunk));
    req.on('end', () => {
      note(chunks.join(''), req.complete, req.rawTrailers.length, JSON.stringify(req.trailers));
      res.end(chunks.join('').toUpperCase());
    });
  },
  async iterate(note, req, res) {
    let text = '';
    for await (const chunk of req) text += chunk;
    note(text, req.readableEnded, req.destroyed);
    res.end(text);
  },
  pipe(note, req, res) {
    watch(note, req, res);
    res.writeHead(200, { 'content-type': req.headers['content-type'] });
    req.pipe(res);
  },
  pipeline(note, req, res) {
    pipeline(Readable.from(['a', 'b', 'c']), res, (error) => note('pipeline', error?.code));
  },
  finished(note, req, res) {
    finished(res, (error) => note('res finished', error?.code));
    finished(req, (error) => note('req finished', error?.code));
    req.resume();
    res.end('x');
  },
  headers(note, req, res) {
    note(JSON.stringify(req.headers), JSON.stringify(req.headersDistinct?.accept), req.rawHeaders.includes('X-MiXed'));
    res.setHeader('X-One', 'one');
    res.setHeader('Set-Cookie', ['a=1', 'b=2']);
    res.setHeader('x-number', 5);
    res.appendHeader('X-Many', 'a');
    res.appendHeader('X-Many', 'b');
    res.setHeader('x-gone', 'x');
    res.removeHeader('X-Gone');
    note(res.getHeader('x-one'), JSON.stringify(res.getHeaderNames()), JSON.stringify(res.getHeaders()), res.hasHeader('X-ONE'));
    res.writeHead(201, 'Made', { 'X-Two': 'two', 'x-one': 'uno' });
    caught(note, 'late setHeader', () => res.setHeader('a', 'b'));
    caught(note, 'late writeHead', () => res.writeHead(200));
    caught(note, 'late removeHeader', () => res.removeHeader('x-one'));
    caught(note, 'late appendHeader', () => res.appendHeader('x-one', 'x'));
    note(res.getHeader('x-one'));
    res.end();
  },
  headList(note, req, res) {
    res.writeHead(200, ['X-A', '1', 'X-A', '2', 'Content-Type', 'text/plain']);
    res.end('list');
  },
  headOnly(note, req, res) {
    res.writeHead(200, { 'Content-Type': 'text/plain', 'Content-Length': 4, 'Set-Cookie': ['x=1', 'y=2'] });
    note(res.getHeader('content-type'), res.headersSent, typeof res._header);
    res.end('four');
  },
  badHeaders(note, req, res) {
    caught(note, 'crlf', () => res.setHeader('x', 'a\r\nb: c'));
    caught(note, 'name', () => res.setHeader('a b', 'c'));
    caught(note, 'undefined', () => res.setHeader('a', undefined));
    caught(note, 'wide', () => res.setHeader('a', 'ы'));
    caught(note, 'head crlf', () => res.writeHead(200, { a: 'b\nc' }));
    caught(note, 'head name', () => res.writeHead(200, { 'a\n': 'b' }));
    caught(note, 'status', () => res.writeHead(99));
    caught(note, 'status text', () => res.writeHead('abc'));
    caught(note, 'phrase', () => res.writeHead(200, 'a\nb'));
    res.statusMessage = 'fine';
    res.end('ok');
  },
  badChunks(note, req, res) {
    res.on('error', (error) => note('error', error.code));
    caught(note, 'number', () => res.write(5));
    caught(note, 'object', () => res.end({}));
    caught(note, 'null', () => res.write(null));
    res.end('ok');
    caught(note, 'write after end', () => res.write('more', (error) => note('callback', error.code)));
    caught(note, 'end after end', () => res.end('more') === res);
    caught(note, 'end again', () => res.end() === res);
    res.end(() => note('unreached or late'));
  },
  latin1(note, req, res) {
    res.setHeader('x-latin1', 'caf\xe9');
    res.end('caf\xe9', 'latin1');
  },
  encodings(note, req, res) {
    res.write('aGk=', 'base64');
    res.write('6869', 'hex');
    res.write(new Uint8Array([33]));
    res.end('é', 'utf8');
  },
  writes(note, req, res) {
    watchResponse(note, res);
    note(res.write('a', () => note('written')), res.headersSent);
    setImmediate(() => {
      note(res.write('b'));
      res.end('c');
    });
  },
  flush(note, req, res) {
    res.setHeader('x-early', 'yes');
    res.flushHeaders();
    note(res.headersSent);
    setImmediate(() => res.end('late'));
  },
  empty(note, req, res) {
    watchResponse(note, res);
    res.statusCode = 204;
    res.end();
  },
  notModified(note, req, res) {
    res.writeHead(304, { etag: '"x"' });
    note(res.write('ignored'));
    res.end('ignored');
  },
  head(note, req, res) {
    watchResponse(note, res);
    res.setHeader('content-length', 5);
    res.write('ignored');
    res.end();
  },
  trailers(note, req, res) {
    res.writeHead(200, { Trailer: 'X-Sum' });
    res.write('body');
    res.addTrailers({ 'X-Sum': '42' });
    res.end();
  },
  hints(note, req, res) {
    res.writeEarlyHints({ link: '</a.css>; rel=preload; as=style', 'x-hint': 'h' }, () => note('hinted'));
    res.writeProcessing();
    res.writeContinue();
    res.end('hinted');
  },
  wrapped(note, req, res) {
    // What compression, on-headers and express-session do.
    const { writeHead, write, end } = res;
    res.writeHead = function (...args) {
      this.setHeader('x-wrapped', 'yes');
      return writeHead.apply(this, args);
    };
    res.write = function (chunk, ...rest) {
      return write.call(this, `<${chunk}>`, ...rest);
    };
    res.end = function (chunk, ...rest) {
      if (chunk) this.write(chunk);
      return end.call(this, null, ...rest);
    };
    res.write('a');
    res.end('b');
  },
  implicit(note, req, res) {
    res.statusCode = 418;
    res.write('');
    note(res.headersSent);
    res.end('teapot');
  },
  lengths(note, req, res) {
    res.strictContentLength = true;
    res.writeHead(200, { 'content-length': 3 });
    caught(note, 'too long', () => res.write('four'));
    caught(note, 'too short', () => res.end('no'));
    res.end('yes');
  },
  socket(note, req, res) {
    const { socket } = req;
    note(socket === res.socket, req.connection === socket, socket.encrypted, socket.writable, socket.readable, socket.destroyed);
    note(socket.remoteFamily, socket.remoteAddress, typeof socket.remotePort, typeof socket.localPort, typeof socket.address());
    note(socket.setTimeout(0) === socket, socket.setNoDelay() === socket, socket.setKeepAlive() === socket, socket.ref() === socket, socket.unref() === socket);
    note(socket._httpMessage === res, socket.server === server, typeof socket.on);
    res.on('finish', () => note('at finish', res.socket === null, socket.destroyed, socket._httpMessage === null));
    res.end('s');
  },
  destroyedResponse(note, req, res) {
    watch(note, req, res);
    res.destroy();
    note(res.destroyed, res.writable);
    caught(note, 'write', () => res.write('x', (error) => note('callback', error.code)));
  },
  destroyedLater(note, req, res) {
    watch(note, req, res);
    res.write('begun');
    setTimeout(() => req.socket.destroy(), 20);
  },
  timeout(note, req, res) {
    res.setTimeout(20, () => {
      note('timeout');
      res.statusCode = 503;
      res.end('slow');
    });
  },
  streamError(note, req, res) {
    const source = new Readable({
      read() {
        this.push('part');
        this.destroy(new Error('source broke'));
      },
    });
    pipeline(source, res, (error) => note('pipeline', error.message));
    watchResponse(note, res);
  },
  late(note, req, res) {
    setTimeout(() => {
      note(res.writableNeedDrain, res.writableLength, res.writableHighWaterMark > 0, res.writableCorked);
      res.end('late');
    }, 10);
  },
  corked(note, req, res) {
    res.cork();
    res.write('a');
    res.write('b');
    res.uncork();
    res.end('c');
  },
  reused(note, req, res) {
    res.once('finish', () => note('once', res.headersSent));
    res.end();
  },
  resetHeaders(note, req, res) {
    res.setHeaders(new Map([['x-a', '1'], ['x-b', '2']]));
    res.writeHead(200, { 'X-B': '3' });
    res.end();
  },
  assertions(note, req, res) {
    note(req instanceof http.IncomingMessage, res instanceof http.ServerResponse, res instanceof require('stream').Stream);
    note(Object.prototype.toString.call(req), req.constructor.name, res.constructor.name);
    note(typeof req.pipe, typeof res.pipe, res.req === req, req.statusCode, req.upgrade, req.aborted);
    res.end();
  },
};

const server = http.createServer((req, res) => {
  const { pathname, searchParams } = new URL(req.url, 'http://x');
  if (pathname === '/log') {
    const log = logs.get(searchParams.get('name'));
    // What a scenario leaves for later ticks has come by then.
    setTimeout(() => res.end(JSON.stringify(log)), 60);
    return;
  }
  const name = pathname.slice(1);
  const log = [];
  logs.set(name, log);
  scenarios[name]((...seen) => log.push(seen.map((value) => (value === undefined ? 'undefined' : value))), req, res);
});
server.listen(Number(process.env.PORT ?? 0), '127.0.0.1', () => {
  if (process.env.PORT !== undefined) process.send?.(server.address().port);
});
