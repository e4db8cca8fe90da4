import { Suspense } from 'react';
import { headers } from 'next/headers';

async function Slow() {
  await new Promise((resolve) => setTimeout(resolve, 20));
  return <p>slow part</p>;
}

export default async function Page() {
  const host = (await headers()).get('host');
  return (
    <main>
      <h1>host {host}</h1>
      <Suspense fallback={<p>wait</p>}>
        <Slow />
      </Suspense>
    </main>
  );
}
