// SHA-256 of many short messages, and one PBKDF2 key.
import { createHash, pbkdf2Sync } from 'node:crypto';

export function run({ messages, password, iterations }) {
  return {
    digests: messages.map((message) => createHash('sha256').update(message).digest('hex')),
    key: pbkdf2Sync(password, 'a salt of the suite', iterations, 32, 'sha256').toString('hex'),
  };
}
