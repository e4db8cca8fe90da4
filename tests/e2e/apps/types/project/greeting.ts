interface Base { id: number }
export interface Person extends Base { name: string; nick?: string | null }

export function greet(person: Person, mode: 'polite' | 'brief' = 'brief', ...rest: number[]): { text: string; at: Date } {
  return { text: `${mode} ${person.name} ${rest.length}`, at: new Date() };
}

export function* numbers(): Generator<number> {
  yield 1;
}
