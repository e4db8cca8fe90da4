import path from 'node:path';
// The packages are those of the tests, one folder up.
export default { turbopack: { root: path.resolve(import.meta.dirname, '../..') }, outputFileTracingRoot: path.resolve(import.meta.dirname, '../..') };
