'use strict';
require('reflect-metadata');
const { Controller, Get, Post, Module, HttpException, StreamableFile } = require('@nestjs/common');
const { NestFactory } = require('@nestjs/core');
const { Readable } = require('node:stream');

class AppController {
  hello() {
    return 'hello';
  }
  json(req) {
    return { hello: 'world', q: req.query.q, ip: req.ip };
  }
  echo(req) {
    return req.body;
  }
  stream() {
    return new StreamableFile(Readable.from([Buffer.from('one '), Buffer.from('two '), Buffer.from('three')]), { type: 'text/plain' });
  }
  boom() {
    throw new HttpException('boom', 500);
  }
}
// What decorators compile to.
const { Req } = require('@nestjs/common');
for (const [name, decorate] of [['hello', Get('/hello')], ['json', Get('/json')], ['echo', Post('/echo')], ['stream', Get('/stream')], ['boom', Get('/boom')]]) {
  decorate(AppController.prototype, name, Object.getOwnPropertyDescriptor(AppController.prototype, name));
}
Req()(AppController.prototype, 'json', 0);
Req()(AppController.prototype, 'echo', 0);
Controller()(AppController);

class AppModule {
  onModuleDestroy() {
    console.log('nest closed');
  }
}
Module({ controllers: [AppController] })(AppModule);

(async () => {
  const app = await NestFactory.create(AppModule, { logger: false });
  app.enableShutdownHooks();
  await app.listen(3000);
})();
