import crypto from 'node:crypto';

const CHUNK = new Uint8Array(65536).fill(120);
const waiting = new Map();
let held = 0;

async function sink(request) {
  let bytes = 0;
  const hash = crypto.createHash('sha256');
  for await (const chunk of request.body ?? []) {
    bytes += chunk.length;
    if (bytes <= 16 << 20) hash.update(chunk);
  }
  return Response.json({ bytes, sha256: hash.digest('hex'), trailers: {} });
}

function source(query) {
  let left = Number(query.get('bytes'));
  const headers = { 'content-type': 'application/octet-stream' };
  if (query.get('length')) headers['content-length'] = String(left);
  const body = new ReadableStream({
    pull(controller) {
      if (left === 0) return controller.close();
      const chunk = left >= CHUNK.length ? CHUNK : CHUNK.subarray(0, left);
      left -= chunk.length;
      return controller.enqueue(chunk);
    },
  });
  return new Response(body, { headers });
}

function stream(query) {
  const encoder = new TextEncoder();
  const key = query.get('key');
  const body = new ReadableStream({
    start(controller) {
      controller.enqueue(encoder.encode('data: first\n\n'));
      waiting.set(key, {
        write: (text) => controller.enqueue(encoder.encode(text)),
        end: () => controller.close(),
      });
    },
    cancel() {
      waiting.delete(key);
    },
  });
  return new Response(body, { headers: { 'content-type': query.get('type') ?? 'text/event-stream' } });
}

function push(query) {
  const open = waiting.get(query.get('key'));
  if (open) open.write(query.get('end') ? 'data: last\n\n' : 'data: next\n\n');
  if (open && query.get('end')) open.end();
  return new Response(String(Boolean(open)));
}

function inspect(request, url) {
  return Response.json({
    method: request.method,
    target: url.pathname + url.search,
    version: '',
    scheme: url.protocol.slice(0, -1),
    client: '',
    headers: [...request.headers],
  });
}

export default {
  async fetch(request) {
    const url = new URL(request.url);
    const query = url.searchParams;
    switch (url.pathname) {
      case '/':
        return new Response('hello');
      case '/json':
        return Response.json({ ok: true });
      case '/inspect':
        return inspect(request, url);
      case '/echo':
        return new Response(request.body, {
          headers: { 'content-type': request.headers.get('content-type') ?? 'application/octet-stream' },
        });
      case '/sink':
        return sink(request);
      case '/source':
        return source(query);
      case '/stream':
        return stream(query);
      case '/push':
        return push(query);
      case '/status': {
        const status = Number(query.get('code'));
        return new Response(status === 204 || status === 304 ? null : 'status', { status });
      }
      case '/cookies': {
        const headers = new Headers();
        headers.append('set-cookie', 'a=1');
        headers.append('set-cookie', 'b=2');
        return new Response('cookies', { headers });
      }
      case '/text':
        return new Response('compress me, please. '.repeat(Number(query.get('times') ?? 500)));
      case '/wait':
        held += 1;
        await new Promise((resolve) => setTimeout(resolve, Number(query.get('ms'))));
        held -= 1;
        return new Response('waited');
      case '/held':
        return new Response(String(held));
      case '/never':
        return new Promise(() => {});
      case '/pid':
        return new Response(String(process.pid));
      case '/print':
        console.log('printed to stdout');
        console.error('printed to stderr');
        return new Response('printed');
      case '/boom':
        throw new Error('the application broke on purpose');
      case '/exit':
        return process.exit(7);
      case '/no-response':
        return 'not a Response';
      default:
        return new Response('the application knows no such path', { status: 404 });
    }
  },
};
