require('node:http')
  .createServer((request, response) => {
    response.writeHead(200, { 'content-type': 'text/plain', 'content-length': '13' });
    response.end('Hello, world!');
  })
  .listen(Number(process.env.PORT));
