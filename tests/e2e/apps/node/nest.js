'use strict';
// What the TypeScript compiler makes of a small Nest application: decorators called as functions.
require('reflect-metadata');
const common = require('@nestjs/common');
const { NestFactory } = require('@nestjs/core');

class Items {
  hello() {
    return 'hello';
  }
  json() {
    return { ok: true };
  }
  post(body) {
    return { got: body };
  }
  item(id, query) {
    return { id, query };
  }
  echo(request, response) {
    request.pipe(response);
  }
  redirect() {
    return { url: '/json', statusCode: 302 };
  }
  boom() {
    throw new Error('the application broke on purpose');
  }
}

function method(name, ...decorators) {
  const descriptor = Object.getOwnPropertyDescriptor(Items.prototype, name);
  for (const decorator of decorators) decorator(Items.prototype, name, descriptor);
}

method('hello', common.Get('/'), common.Header('content-type', 'text/plain'));
method('json', common.Get('/json'));
method('post', common.Post('/json'), common.HttpCode(200));
common.Body()(Items.prototype, 'post', 0);
method('item', common.Get('/items/:id'));
common.Param('id')(Items.prototype, 'item', 0);
common.Query()(Items.prototype, 'item', 1);
method('echo', common.Post('/echo'));
common.Req()(Items.prototype, 'echo', 0);
common.Res()(Items.prototype, 'echo', 1);
method('redirect', common.Get('/redirect'), common.Redirect('/json', 302));
method('boom', common.Get('/boom'));
common.Controller()(Items);

class AppModule {}
common.Module({ controllers: [Items] })(AppModule);

NestFactory.create(AppModule, { logger: ['error'] }).then((app) => app.listen(3000));
