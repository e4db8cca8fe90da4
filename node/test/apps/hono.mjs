import { Hono } from 'hono';
import { stream } from 'hono/streaming';

const app = new Hono();
app.get('/hello', (c) => c.text('hello'));
app.get('/json', (c) => c.json({ hello: 'world', q: c.req.query('q') }));
app.post('/echo', async (c) => c.json(await c.req.json()));
app.get('/stream', (c) => {
  c.header('content-type', 'text/plain');
  return stream(c, async (out) => {
    for (const part of ['one ', 'two ', 'three']) await out.write(part);
  });
});
app.get('/boom', () => {
  throw new Error('boom');
});
app.onError((error, c) => c.text('Internal Server Error', 500));

if (process.argv[2] === 'server') {
  const { serve } = await import('@hono/node-server');
  serve({ fetch: app.fetch, port: 3000 });
}
export default process.argv[2] === 'server' ? undefined : app;
