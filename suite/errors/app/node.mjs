// A service with everything that can go wrong, one path each; /ok is the neighbour that must not notice.
const encoder = new TextEncoder();

async function refuse() {
  throw new Error('suite: rejected');
}

const paths = {
  '/ok': (url) => Response.json({ ok: true, n: Number(url.searchParams.get('n') ?? 0) }),

  '/throw': () => {
    throw new Error('suite: thrown');
  },

  '/caught': async () => {
    try {
      return await refuse();
    } catch (error) {
      return Response.json({ error: error.message }, { status: 400 });
    }
  },

  // A promise that nobody awaits; the answer itself is fine.
  '/unawaited': () => {
    refuse();
    return Response.json({ ok: true });
  },

  '/timeout': () => new Promise(() => {}),

  '/abort': () => {
    let pulls = 0;
    const body = new ReadableStream({
      pull(controller) {
        pulls += 1;
        if (pulls > 3) controller.error(new Error('suite: aborted'));
        else controller.enqueue(encoder.encode('part of an answer\n'));
      },
    });
    return new Response(body);
  },

  '/allocate': () => new Response(new Uint8Array(2 ** 53)),

  '/crash': () => process.abort(),
};

export default {
  fetch(request) {
    const url = new URL(request.url);
    return paths[url.pathname]?.(url) ?? new Response('no such path', { status: 404 });
  },
};
