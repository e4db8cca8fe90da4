'use strict';
const fastify = require('fastify')();

fastify.get('/', async () => 'hello');
fastify.get('/json', async () => ({ ok: true }));
fastify.post('/json', async (request) => ({ got: request.body }));
fastify.get('/items/:id', async (request) => ({ id: request.params.id, query: request.query }));
fastify.addContentTypeParser('application/octet-stream', (request, payload, done) => done(null, payload));
fastify.post('/echo', (request, reply) => reply.send(request.body));
fastify.get('/redirect', (request, reply) => reply.redirect('/json'));
fastify.get('/boom', async () => {
  throw new Error('the application broke on purpose');
});
fastify.addHook('onClose', async () => console.log('fastify closed'));
process.once('SIGTERM', () => fastify.close());
fastify.listen({ port: 3000, host: '0.0.0.0' }).then((address) => console.log('fastify listens', address));
