const fastify = require('fastify')();

fastify.get('/', async () => ({ message: 'Hello, world!', items: [1, 2, 3], nested: { ok: true } }));
fastify.listen({ port: Number(process.env.PORT ?? 3000), host: '127.0.0.1' });
