export const dynamic = 'force-dynamic';

export default async function Page() {
  return <h1>hello from next on {process.version}</h1>;
}
