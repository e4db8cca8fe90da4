export const dynamic = 'force-dynamic';

export async function GET() {
  const waits = globalThis.release !== undefined;
  globalThis.release?.();
  return Response.json({ released: waits });
}
