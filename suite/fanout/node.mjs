// Asks the upstream for every item at once, over a few kept connections, and sums the prices.
import { Pool } from 'undici';

const pool = new Pool(process.env.BIREME_SUITE_UPSTREAM, { connections: 10, pipelining: 1 });

async function price(item) {
  const { statusCode, body } = await pool.request({ method: 'GET', path: `/items/${item}` });
  if (statusCode !== 200) throw new Error(`the upstream answered ${statusCode}`);
  return body.json();
}

export async function run(items) {
  const prices = await Promise.all(items.map(price));
  return { asked: prices.length, cents: prices.reduce((sum, { cents }) => sum + cents, 0) };
}
