'use strict';
// Puts a real HTTP port in front of a fake front, so that real clients (node:http, ws, socket.io-client) can talk to a
// worker in tests. It does of HTTP what they need, no more.

const http = require('node:http');

/** Fields as they came, for `front.request`. */
function fieldsOf(req) {
  const fields = [];
  for (let i = 0; i < req.rawHeaders.length; i += 2) fields.push([req.rawHeaders[i], req.rawHeaders[i + 1]]);
  return fields;
}

/** Resolves with `{ port, url, close() }`. */
async function bridge(front) {
  const server = http.createServer();
  const sockets = new Set();
  server.on('connection', (socket) => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
  });
  server.on('request', (req, res) => forward(front, req, res));
  server.on('upgrade', (req, socket, head) => tunnel(front, req, socket, head));
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address();
  return {
    port,
    url: `http://127.0.0.1:${port}`,
    close: () => {
      for (const socket of sockets) socket.destroy();
      server.close();
    },
  };
}

function forward(front, req, res) {
  const bodyless = req.headers['content-length'] === undefined && req.headers['transfer-encoding'] === undefined;
  const headers = fieldsOf(req).filter(([name]) => !['connection', 'keep-alive'].includes(name.toLowerCase()));
  const exchange = front.request({ method: req.method, target: req.url, headers }, { end: bodyless });
  if (!bodyless) {
    req.on('data', async (chunk) => {
      req.pause();
      await exchange.upload(chunk, { end: false });
      req.resume();
    });
    req.on('end', () => {
      if (req.rawTrailers.length === 0) exchange.send('', { end: true });
      else {
        const trailers = [];
        for (let i = 0; i < req.rawTrailers.length; i += 2) trailers.push([req.rawTrailers[i], req.rawTrailers[i + 1]]);
        exchange.sendTrailers(trailers);
      }
    });
  }
  let finished = false;
  res.on('close', () => {
    if (!finished) exchange.cancel();
  });
  let hints = 0;
  let written = 0;
  const step = () => {
    for (; hints < exchange.informational.length; hints++) {
      const { status, fields } = exchange.informational[hints];
      if (status === 103) res.writeEarlyHints(Object.fromEntries(fields.map(([name, value]) => [name.toLowerCase(), value])));
      else if (status === 102) res.writeProcessing();
    }
    if (exchange.status !== undefined && !res.headersSent) {
      const fields = exchange.fields.flat();
      if (exchange.ended && exchange.header('content-length') === undefined && exchange.trailers === null) {
        fields.push('Content-Length', String(exchange.bytes));
      }
      if (exchange.reason !== '') res.writeHead(exchange.status, exchange.reason, fields);
      else res.writeHead(exchange.status, fields);
      if (exchange.bytes === 0 && !exchange.ended) res.flushHeaders();
    }
    for (; written < exchange.chunks.length; written++) res.write(exchange.chunks[written]);
    if (exchange.reset !== null && !finished) {
      finished = true;
      if (res.headersSent) res.destroy();
      else res.writeHead(500).end(exchange.reset.text);
    } else if (exchange.ended && !finished) {
      finished = true;
      if (exchange.trailers !== null) res.addTrailers(Object.fromEntries(exchange.trailers));
      res.end();
    }
    return finished;
  };
  exchange.until(step);
}

function tunnel(front, req, socket, head) {
  const exchange = front.request({ target: req.url, headers: fieldsOf(req) }, { upgrade: true });
  let written = 0;
  exchange.until(({ tunnel: open }) => open).then(() => {
    if (head.length > 0) exchange.send(head);
    socket.on('data', (chunk) => exchange.upload(chunk, { end: false }));
    socket.on('end', () => exchange.send('', { end: true }));
  });
  socket.on('error', () => {});
  let over = false;
  socket.on('close', () => {
    if (!over) exchange.cancel();
  });
  exchange.until(() => {
    if (exchange.status !== undefined && exchange.ended) {
      over = true;
      socket.end(`HTTP/1.1 ${exchange.status} ${exchange.reason || http.STATUS_CODES[exchange.status]}\r\nContent-Length: ${exchange.bytes}\r\nConnection: close\r\n\r\n${exchange.text}`);
      return true;
    }
    if (!exchange.tunnel && exchange.reset === null) return false;
    for (; written < exchange.chunks.length; written++) socket.write(exchange.chunks[written]);
    if (exchange.reset !== null) {
      over = true;
      socket.destroy();
    } else if (exchange.ended) {
      socket.end();
    }
    return over;
  });
}

module.exports = { bridge };
