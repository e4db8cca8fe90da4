// What the examples use of Node and of packages, whose own types are not installed.
declare const process: { env: Record<string, string | undefined>; versions: { node: string }; pid: number };
declare const __dirname: string;
declare module 'node:path' { export function join(...parts: string[]): string }
declare module 'node:fs' { export function readFileSync(file: URL, encoding: 'utf8'): string }
declare module 'react' { export function createElement(...parts: unknown[]): unknown }
declare module 'react-dom/server' { export function renderToStaticMarkup(element: unknown): string }
declare module 'express' {
  interface Response { type(name: string): this; status(code: number): this; json(body: unknown): void; send(body: string): void }
  type Handler = (request: { body?: any }, response: Response) => void;
  interface App {
    disable(name: string): void; use(path: string, handler: Handler): void; listen(port: number, ready: () => void): void;
    get(path: string, ...handlers: Handler[]): void; post(path: string, ...handlers: Handler[]): void;
  }
  function express(): App;
  namespace express { function json(): Handler; function static(folder: string): Handler }
  export = express;
}
