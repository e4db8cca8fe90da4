'use strict';
const fastify = require('fastify')({ logger: false });
const { Readable } = require('node:stream');

fastify.get('/hello', async () => 'hello');
fastify.get('/json', async (req) => ({ hello: 'world', q: req.query.q, ip: req.ip }));
fastify.post('/echo', async (req) => req.body);
fastify.get('/stream', (req, reply) => reply.type('text/plain').send(Readable.from(['one ', 'two ', 'three'])));
fastify.get('/boom', async () => {
  throw new Error('boom');
});
fastify.addHook('onClose', async () => console.log('fastify closed'));
fastify.listen({ port: 3000, host: '0.0.0.0' });
