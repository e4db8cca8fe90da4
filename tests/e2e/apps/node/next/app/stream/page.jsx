import { Suspense } from 'react';

export const dynamic = 'force-dynamic';

async function Late() {
  await new Promise((resolve) => {
    globalThis.release = resolve;
  });
  return <p>the late part</p>;
}

export default function Page() {
  return (
    <Suspense fallback={<p>the first part</p>}>
      <Late />
    </Suspense>
  );
}
