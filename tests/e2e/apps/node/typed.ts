import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';

interface Answer { typed: boolean; path: string }

createServer((request: IncomingMessage, response: ServerResponse) => {
  const answer: Answer = { typed: true, path: request.url ?? '' };
  response.end(JSON.stringify(answer));
}).listen(3000);
