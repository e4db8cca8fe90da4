/**
 * Renders a page.
 * @param {{ title: string, tags?: string[] }} props what it shows
 * @param {number} [depth]
 * @returns {Promise<string>}
 */
export async function render(props, depth = 1) {
  return props.title.repeat(depth);
}

/** @yields {string} */
export async function* feed() {
  yield 'a';
}

export const VERSION = '1.0';

export class Counter {
  /** @param {number} start */
  constructor(start) {
    this.n = start;
  }

  /**
   * Adds.
   * @param {number} n
   * @returns {number}
   */
  add(n) {
    this.n += n;
    return this.n;
  }
}
