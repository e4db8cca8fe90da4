'use strict';
const Koa = require('koa');
const { Readable } = require('node:stream');

const app = new Koa();
app.silent = true;
app.use(async (ctx) => {
  switch (ctx.path) {
    case '/hello':
      ctx.body = 'hello';
      break;
    case '/json':
      ctx.body = { hello: 'world', q: ctx.query.q, ip: ctx.ip };
      break;
    case '/echo': {
      let text = '';
      for await (const chunk of ctx.req) text += chunk;
      ctx.body = JSON.parse(text);
      break;
    }
    case '/stream':
      ctx.type = 'text';
      ctx.body = Readable.from(['one ', 'two ', 'three']);
      break;
    case '/boom':
      throw new Error('boom');
    default:
  }
});
app.listen(3000);
