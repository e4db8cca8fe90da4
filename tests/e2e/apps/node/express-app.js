const express = require('express');

const app = express();
app.get('/', (request, response) => {
  response.json({ message: 'Hello, world!', items: [1, 2, 3], nested: { ok: true } });
});
app.listen(Number(process.env.PORT ?? 3000));
