export interface User { id: number; name: string }
export type Page<T> = { rows: T[]; next?: Page<T> };
export default interface Settings { theme: 'dark' | 'light'; depth?: number }
