// Looks customers up one by one, sums a city up, and adds purchases in a transaction that is rolled back.
import { readFileSync } from 'node:fs';
import pg from 'pg';

const client = new pg.Client({ connectionString: process.env.BIREME_SUITE_POSTGRES });
await client.connect();
await client.query(readFileSync(new URL('schema.sql', import.meta.url), 'utf8'));

// A name makes pg prepare the statement once.
const statement = (name, text) => (values) => client.query({ name, text, values });
const byId = statement('by-id', 'SELECT id, name, city FROM customer WHERE id = $1');
const ofCity = statement(
  'of-city',
  'SELECT customer.id, name, count(*)::integer AS purchases, sum(cents)::integer AS cents FROM customer ' +
    'JOIN purchase ON purchase.customer = customer.id WHERE city = $1 GROUP BY customer.id ORDER BY cents DESC, customer.id',
);
const add = statement('add', 'INSERT INTO purchase (customer, cents) VALUES ($1, $2)');
const total = statement('total', 'SELECT count(*)::integer AS purchases, sum(cents)::integer AS cents FROM purchase');

// One connection: whoever comes meanwhile waits, as a transaction is its own.
let turn = Promise.resolve();

export function run(asked) {
  const answered = turn.then(() => ask(asked));
  turn = answered.catch(() => {});
  return answered;
}

async function ask({ customers, city, purchases }) {
  const found = [];
  for (const id of customers) found.push((await byId([id])).rows[0]);
  const sums = (await ofCity([city])).rows;
  await client.query('BEGIN');
  for (const purchase of purchases) await add(purchase);
  const after = (await total([])).rows[0];
  await client.query('ROLLBACK');
  return { found, sums, after };
}
