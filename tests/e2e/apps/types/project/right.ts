import model, { Model, Point, VERSION, count, delete as remove, embed, norm, predict, rows, strict, user, when } from './model.py';
import { PlainDate, Uuid, value } from 'bireme';

async function main(): Promise<void> {
  const points = await predict([1, 2.5, 3n], 3);
  const x: number = points[0]!.x;
  const named = await predict.with({ timeout: 500, kwargs: { top: 3, color: 'red' } })([x]);
  const tags: string[] = named[0]!.tags;
  for await (const row of rows('q')) {
    const n: number = row['a']!;
    await remove(n);
  }
  for await (const n of count(3)) console.log(n, tags);
  const learner = await new Model(0.5);
  const fitted: number = await learner.fit([[1, 'a']]);
  const size: number = await value(learner.size);
  const version: string = await value(VERSION);
  const point: Point = await Point(1);
  const nick: string | null = (await user({ id: 1, name: 'a' })).nick;
  const dates = await when(new PlainDate('2026-11-24'), new Uuid('00010203-0405-0607-0809-0a0b0c0d0e0f'), (n) => n.toFixed());
  const length: number = (await norm(new Float64Array(3))) + dates.size;
  const nothing: null = await strict.with({ kwargs: { key: 'a' } })();
  const embedded: number = await embed('one text');
  await model.predict([fitted, size, length, embedded]);
  await new Model.load(version + nick + nothing + point.y);
}

void main();
