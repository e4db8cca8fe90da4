import { Hono } from 'hono';

const app = new Hono();
app.get('/', (context) => context.text('hello'));
app.get('/json', (context) => context.json({ ok: true }));
app.post('/json', async (context) => context.json({ got: await context.req.json() }));
app.get('/items/:id', (context) => context.json({ id: context.req.param('id'), query: context.req.query() }));
app.post('/echo', (context) => context.body(context.req.raw.body));
app.get('/redirect', (context) => context.redirect('/json'));
app.get('/boom', () => {
  throw new Error('the application broke on purpose');
});
export default app;
