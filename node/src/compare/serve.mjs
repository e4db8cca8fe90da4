// One function as a service, for `bireme compare --mix`: POST a JSON value, get the function's.
import { pathToFileURL } from 'node:url';

const { COMPARE_FILE: file, COMPARE_NAME: name } = process.env;
const module = await import(pathToFileURL(file).href);
const call = module[name] ?? module.default?.[name];

export default {
  async fetch(request) {
    return Response.json((await call(await request.json())) ?? null);
  },
};
