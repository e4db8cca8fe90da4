// A module that is loaded for as long as the test wants: until there is a file `open` in the folder GATE.
import { existsSync, writeFileSync } from 'node:fs';
import { setTimeout } from 'node:timers/promises';

const { GATE } = process.env;
writeFileSync(`${GATE}/loading`, '');
while (!existsSync(`${GATE}/open`)) await setTimeout(10);
let count = 0;

export function run() {
  count++;
  return process.pid;
}

export const runs = () => count;
