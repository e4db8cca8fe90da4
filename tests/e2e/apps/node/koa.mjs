import Koa from 'koa';

const app = new Koa();
app.silent = true;

async function read(stream) {
  const chunks = [];
  for await (const chunk of stream) chunks.push(chunk);
  return Buffer.concat(chunks);
}

app.use(async (context) => {
  const item = /^\/items\/([^/]+)$/.exec(context.path);
  if (item) context.body = { id: decodeURIComponent(item[1]), query: { ...context.query } };
  else if (context.path === '/') context.body = 'hello';
  else if (context.path === '/json' && context.method === 'POST') context.body = { got: JSON.parse(await read(context.req)) };
  else if (context.path === '/json') context.body = { ok: true };
  else if (context.path === '/echo') context.body = context.req;
  else if (context.path === '/redirect') context.redirect('/json');
  else if (context.path === '/boom') throw new Error('the application broke on purpose');
});
app.listen(3000);
