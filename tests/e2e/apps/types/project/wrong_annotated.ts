import { COLORS, Box, account, arrays, cells, double, first, pages, parse, score, search, shape, size } from './annotated.py';
import { value } from 'bireme';

const strings: Promise<string> = first([1, 2]); // wrong
double(3); // wrong
parse('1', 'ten'); // wrong
parse.with({ kwargs: { many: 1 } }); // wrong
parse(true); // wrong
shape({ named: 'a' }); // wrong
shape({ size: 3 }); // wrong
shape({}, 'slow'); // wrong
cells({ row: 'a' }, [1, 2]); // wrong
cells({ row: 1 }, [1]); // wrong
account({ user_name: 'a', owner: 1 }, [], 1); // wrong
search.with({ kwargs: { mode: 'slow' } }); // wrong
size(1); // wrong
score((text: number) => text, () => true); // wrong
arrays(new Float64Array(1), new Float32Array(1), new Uint8Array(1)); // wrong
for await (const page of pages([1])) page.items[0]!.length; // wrong
const box = await new Box('text');
await box.put(1); // wrong
const items: string[] = await box.at(0); // wrong
const colors: number[] = await value(COLORS); // wrong
new Box(); // wrong
