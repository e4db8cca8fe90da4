import type Settings from './shared.js';
import type { Page, User } from './shared.js';

export * from './page.js';
export enum Level { Low, High = 5 }

export function first<T>(pages: Page<T>[]): T {
  return pages[0]!.rows[0]!;
}

export function parse(text: string): number;
export function parse(text: string, many: true): number[];
export function parse(text: string, many = false): unknown {
  return many ? [Number(text)] : Number(text);
}

export function show(user: User, settings: Settings): Page<User> {
  return { rows: [user] };
}

export const scale = (pixels: Float64Array, factor = 2): Float32Array => new Float32Array(pixels).map((pixel) => pixel * factor);

export const each = async (users: Iterable<User>, tell: (user: User) => boolean): Promise<Level> => Level.Low;

export class Box<T> {
  constructor(public item: T) {}
  get(): T { return this.item; }
}

export const api = { v1: { greet(name: string, { lang = 'en' } = {}): string { return name + lang; } } };
