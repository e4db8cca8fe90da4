// Looks customers up one by one, sums a city up, and adds purchases in a transaction that is rolled back.
import { readFileSync } from 'node:fs';
import { DatabaseSync } from 'node:sqlite';

const database = new DatabaseSync(':memory:');
database.exec(readFileSync(new URL('schema.sql', import.meta.url), 'utf8'));
const byId = database.prepare('SELECT id, name, city FROM customer WHERE id = ?');
const ofCity = database.prepare(
  'SELECT customer.id, name, count(*) AS purchases, sum(cents) AS cents FROM customer ' +
    'JOIN purchase ON purchase.customer = customer.id WHERE city = ? GROUP BY customer.id ORDER BY cents DESC, customer.id',
);
const add = database.prepare('INSERT INTO purchase (customer, cents) VALUES (?, ?)');
const total = database.prepare('SELECT count(*) AS purchases, sum(cents) AS cents FROM purchase');

export function run({ customers, city, purchases }) {
  const found = customers.map((id) => byId.get(id));
  const sums = ofCity.all(city);
  database.exec('BEGIN');
  for (const [customer, cents] of purchases) add.run(customer, cents);
  const after = total.get();
  database.exec('ROLLBACK');
  return { found, sums, after };
}
