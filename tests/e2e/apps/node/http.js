'use strict';
const http = require('node:http');
const { handle } = require('./contract.js');

const server = http.createServer((request, response) => {
  handle(request, response).catch((error) => {
    console.error(error);
    if (!response.headersSent) response.statusCode = 500;
    response.end();
  });
});
server.listen(process.env.PORT ?? 3000);
process.on('exit', () => console.log('goodbye'));
