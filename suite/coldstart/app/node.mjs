// A small service as people write it: a framework, a route with a parameter, a JSON answer.
import express from 'express';

const app = express();

app.get('/orders/:id', (request, response) => {
  const id = Number(request.params.id);
  if (!Number.isInteger(id)) {
    response.status(400).json({ error: 'id must be a whole number' });
    return;
  }
  response.json({ id, customer: 'Käse', cents: 1700 });
});

export default app;
