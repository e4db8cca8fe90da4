// The ways from JavaScript to model.py: each gives what it can of `add`, `same`, `total`, `ends`, `items` and `shared`.
export const bridges = {
  async bireme() {
    const { shared } = await import('bireme');
    const { add, ends, same, total } = await import('./quick.py');
    const { items } = await import('./model.py');
    return { add, ends, same, total, items, shared };
  },

  /** Plain functions, unmarked: each call runs in a thread of the worker. */
  async 'bireme-thread'() {
    const { add, same } = await import('./model.py');
    return { add, same };
  },

  async 'node-calls-python'() {
    const { interpreter } = await import('node-calls-python');
    // What it needs for NumPy: the symbols of libpython for all, and the packages of the environment.
    interpreter.fixlink(process.env.BENCH_LIBPYTHON);
    interpreter.addImportPath(process.env.BENCH_PACKAGES);
    const module = await interpreter.import(new URL('model.py', import.meta.url).pathname, false);
    const call = (name) => (...args) => interpreter.call(module, name, ...args);
    return { add: call('add'), same: call('same'), total: call('total') };
  },

  async pythonia() {
    const { python } = await import('pythonia');
    const module = await python(new URL('model.py', import.meta.url).pathname);
    return { add: (a, b) => module.add(a, b), end: () => python.exit() };
  },

  /** Node's own fetch to FastAPI on uvicorn. */
  async fetch() {
    const url = process.env.BENCH_URL;
    return { add: async (a, b) => (await fetch(`${url}/add?a=${a}&b=${b}`)).json() };
  },
};
