// Reads an access log: bytes and requests for each status, requests for each path, mail addresses hidden.
const LINE = /^([0-9.]+) - - \[[0-9:]+\] "([A-Z]+) ([^ "]+) HTTP\/1\.1" ([0-9]{3}) ([0-9]+)$/;
const MAIL = /[a-z0-9.]+@[a-z0-9.]+/g;

export function run(text) {
  const statuses = {};
  const paths = {};
  let broken = 0;
  for (const line of text.split('\n')) {
    const match = LINE.exec(line);
    if (match === null) {
      broken += 1;
      continue;
    }
    const [, , method, path, status, bytes] = match;
    const sums = (statuses[status] ??= { requests: 0, bytes: 0 });
    sums.requests += 1;
    sums.bytes += Number(bytes);
    const shown = `${method} ${path.replace(MAIL, '…')}`;
    paths[shown] = (paths[shown] ?? 0) + 1;
  }
  return { statuses, paths, broken };
}
