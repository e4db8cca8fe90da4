// sockets-fetch.mjs under Bun.
import app, { serveWith } from './sockets-fetch.mjs';

serveWith(Bun.serve({ port: Number(process.env.PORT), hostname: '127.0.0.1', ...app }));
