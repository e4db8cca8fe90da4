'use strict';
// The site of the digits example: an ordinary Express application. Under `node server.js` it listens on PORT and
// serves its assets itself; under Bireme the front serves /assets/* and hands the rest to this program.

const path = require('node:path');
const express = require('express');

const app = express();
const port = Number(process.env.PORT ?? 3000);

app.disable('x-powered-by');
app.use('/assets', express.static(path.join(__dirname, 'public')));

const page = `<!doctype html>
<html lang="en">
<head>
  <meta charset="utf-8">
  <meta name="viewport" content="width=device-width, initial-scale=1">
  <title>Digits</title>
  <link rel="icon" href="data:,">
  <link rel="stylesheet" href="/assets/digits.css">
  <script type="module" src="/assets/digits.js"></script>
</head>
<body>
  <main>
    <h1>Draw a digit</h1>
    <p id="how">Draw 0–9 with the mouse, a finger or a pen. Node serves this page; Python reads your digit.</p>
    <div class="board">
      <canvas id="pad" width="560" height="560" role="img" aria-label="Drawing area for one digit"
        aria-describedby="how"></canvas>
      <section class="answer" aria-label="Answer">
        <output id="digit" for="pad" aria-live="polite">?</output>
        <p id="note" role="status">Nothing drawn yet.</p>
        <ol id="bars" start="0" aria-label="Probability of each digit"></ol>
        <button id="clear" type="button">Clear</button>
      </section>
    </div>
  </main>
</body>
</html>
`;

app.get('/', (request, response) => {
  response.type('html').send(page);
});

// What the page has drawn is read by a function of Python, called like one of JavaScript.
app.post('/predict', express.json(), async (request, response) => {
  // Here and not above: under plain `node` the rest of this application runs without Bireme.
  const { PythonError } = require('bireme');
  const { read } = require('../ml/app.py');
  try {
    response.json(await read({ strokes: request.body?.strokes }));
  } catch (error) {
    // What Python says of a drawing that it cannot read; anything else is Express's to report.
    if (!(error instanceof PythonError) || !['ValueError', 'ValidationError'].includes(error.type)) throw error;
    response.status(422).json({ title: error.message });
  }
});

app.get('/healthz', (request, response) => {
  response.json({ service: 'web', node: process.versions.node, pid: process.pid });
});

app.listen(port, () => {
  console.log(`digits: the site is ready on port ${port}`);
});
