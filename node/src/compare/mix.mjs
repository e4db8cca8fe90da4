// Calls a Python function for `bireme compare --mix`: across a call, and over HTTP. Run by `bireme run`; prints one line of JSON.
// python/src/bireme/compare/mix.py is its counterpart.
import { readFileSync } from 'node:fs';
import { request, Agent } from 'node:http';
import { pathToFileURL } from 'node:url';

const [, , file, name, casesFile, limit, url] = process.argv;
const cases = readFileSync(casesFile, 'utf8').split('\n').filter((line) => line.trim() !== '').map((line) => JSON.parse(line));
const agent = new Agent({ keepAlive: true, maxSockets: 1 });

function post(value) {
  return new Promise((resolve, reject) => {
    const body = JSON.stringify(value);
    const headers = { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) };
    const sent = request(url, { method: 'POST', agent, headers }, (response) => {
      const chunks = [];
      response.on('data', (chunk) => chunks.push(chunk));
      response.on('error', reject);
      response.on('end', () => {
        const text = Buffer.concat(chunks).toString();
        if (response.statusCode === 200) resolve(JSON.parse(text));
        else reject(new Error(`status ${response.statusCode}: ${text}`));
      });
    });
    sent.on('error', reject);
    sent.end(body);
  });
}

async function timed(call) {
  const took = [];
  const began = performance.now();
  for (let n = 0; performance.now() - began < limit * 1000; n += 1) {
    const start = performance.now();
    await call(cases[n % cases.length]);
    took.push((performance.now() - start) / 1000);
  }
  return took;
}

const module = await import(pathToFileURL(file).href);
const across = module[name] ?? module.default[name];
const [answer] = [await across(cases[0])];
const result = { answer: answer ?? null, call: await timed(across), http: await timed(post) };
agent.destroy();
process.stdout.write(`${JSON.stringify(result)}\n`, () => process.exit(0));
