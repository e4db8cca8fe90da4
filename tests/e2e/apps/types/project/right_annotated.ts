import {
  Account, Box, COLORS, LIMITS, Line, Rows, Words, account, arrays, cells, double, first, later, pages, parse, score, search, shape, size, train,
} from './annotated.py';
import { NdArray, value } from 'bireme';

async function main(): Promise<void> {
  const one: number = await first([1, 2]);
  const other: string = await first.with({ timeout: 50 })(['a'], null);
  const twice: string = await double(other);
  const parsed: number = await parse(twice, 16);
  const bytes: Uint8Array = await parse(new Uint8Array(1));
  const many: number[] | number | Uint8Array = await parse.with({ kwargs: { many: true } })('1 2');
  const page = await shape({ name: 'a', size: 2 }, 'exact');
  const named: string | undefined = page.next?.items[0]?.name;
  const [cell] = await cells({ row: 1 }, [1, 2n]);
  const row: number = cell!.row;
  const user: Account = await account({ userName: 'a', owner: 1 }, ['a'], row);
  const found: Rows<number> | null = await search.with({ kwargs: { mode: 'fast', 'page-size': 3 } })(user.user_name);
  const large: 1 | 2 = await size(2);
  const counts: Record<string, number> = await score((text, weight = 1) => text.length * weight, async (n, text) => text.length === n);
  const callable: string = await (await later())(1.5);
  const flags = new NdArray('|b1', [1], new Uint8Array(1));
  const sums: BigInt64Array | NdArray = await arrays(new Int32Array(1), new Float32Array(1), flags);
  for await (const { items, total } of pages([1])) console.log(items[0]!.toFixed() + total, sums);
  const box = await new Box({ at: 1 });
  const item: number = (await box.get()).at + (await value(box.item)).at;
  const all: { at: number }[] = await box.at('all');
  const same: Box<{ at: number }> = await new box.put({ at: 2 });
  const words = await new Words('a');
  const word: string = await words.get();
  const trained: number = await (await new train(await new Line())).get();
  const empty: null = await (await new Box.empty()).get();
  const colors: string[] = await value(COLORS);
  const limit: number | undefined = (await value(LIMITS))['low'];
  console.log(one, parsed, bytes, many, named, found, large, counts, callable, item, all, same, word, trained, empty, colors, limit);
}

void main();
