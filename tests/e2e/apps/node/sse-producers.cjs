// What the applications of test_sse.py send: the next only when somebody says so on the topic "go".
const { subscribe } = require('bireme');

async function* events({ lastEventId, signal }) {
  signal.addEventListener('abort', () => console.log('signal aborted'));
  const go = subscribe('go');
  signal.addEventListener('abort', () => go.close());
  try {
    yield { event: 'begin', id: 1, data: { after: lastEventId } };
    for await (const text of go) yield text;
  } finally {
    console.log('producer ended');
  }
}

async function* pieces() {
  try {
    yield 'first\n';
    for await (const text of subscribe('go')) yield `${text}\n`;
  } finally {
    console.log('producer ended');
  }
}

module.exports = { events, pieces };
