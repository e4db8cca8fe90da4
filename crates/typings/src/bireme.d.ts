// Written by `bireme types`; do not edit. What the module 'bireme' offers inside of Node programs that Bireme runs.

declare module 'bireme' {
  export interface CallOptions<Keywords = Record<string, unknown>> {
    /** Milliseconds; 0 waits without end. */
    timeout?: number;
    signal?: AbortSignal;
    kwargs?: Keywords;
    /** The call may be made again when its worker is lost. */
    idempotent?: boolean;
    /** Calls with the same object go to the same worker. */
    sticky?: object;
  }

  /** A function of Python. */
  export interface PythonFunction<Arguments extends unknown[], Keywords, Result> {
    (...args: Arguments): Result;
    with(options: CallOptions<Keywords> & { kwargs?: undefined }): PythonFunction<Arguments, Keywords, Result>;
    with(options: CallOptions<Keywords>): PythonFunction<Partial<Arguments>, Keywords, Result>;
  }

  /** A function of Python that needs keyword arguments: `f.with({ kwargs: { … } })(…)`. */
  export interface PythonKeywordFunction<Arguments extends unknown[], Keywords, Result> {
    with(options: CallOptions<Keywords> & { kwargs: Keywords }): PythonFunction<Partial<Arguments>, Keywords, Result>;
  }

  /** A class of Python: `await new Model(…)`. The object stays in Python. */
  export interface PythonClass<Arguments extends unknown[], Keywords, Instance> {
    new (...args: Arguments): Promise<Instance>;
    with(options: CallOptions<Keywords> & { kwargs?: undefined }): PythonClass<Arguments, Keywords, Instance>;
    with(options: CallOptions<Keywords>): PythonClass<Partial<Arguments>, Keywords, Instance>;
  }

  /** A function whose result cannot cross: `await new f(…)` leaves it in Python. A plain call is for what is there already. */
  export interface PythonFactory<Arguments extends unknown[], Keywords, Instance> {
    (...args: Arguments): Promise<Instance>;
    new (...args: Arguments): Promise<Instance>;
    with(options: CallOptions<Keywords> & { kwargs?: undefined }): PythonFactory<Arguments, Keywords, Instance>;
    with(options: CallOptions<Keywords>): PythonFactory<Partial<Arguments>, Keywords, Instance>;
  }

  /** `with` of a function of Python that has overloads or type variables. With keyword arguments it is `WithKeywords`. */
  export interface PythonOptions<Keywords, WithKeywords> {
    with(options: CallOptions<Keywords> & { kwargs?: undefined }): this;
    with(options: CallOptions<Keywords>): WithKeywords;
  }

  /** What a generator of Python gives: `for await (const item of rows())`. */
  export type PythonStream<Item> = Promise<AsyncIterableIterator<Item>> & AsyncIterable<Item>;

  const held: unique symbol;
  /** A name of Python that is no function; `await value(name)` is its value. */
  export interface PythonValue<Value> {
    readonly [held]: Value;
  }

  /** An object that lives in Python. */
  export class RemoteObject {
    private constructor();
    static nameOf(object: RemoteObject): string;
    [Symbol.asyncDispose](): Promise<void>;
  }

  /** The value of a variable, property or constant of Python. */
  export function value<Value>(name: PythonValue<Value>, options?: CallOptions): Promise<Value>;
  /** A Python module by the name under which Python imports it. */
  export function python(name: string, options?: CallOptions & { service?: string }): any;
  /** Lets go of an object, function or stream of Python, or of an array in shared memory, at once. */
  export function release(object: unknown): void;
  /** What an array that `shared` made has beside its class. */
  export interface SharedMemory {
    /** Ends the use of it: it has no elements any more, and cannot cross. */
    release(): void;
    [Symbol.dispose](): void;
  }
  /** An array of zeros in memory that Python sees as well; it crosses without a copy. */
  export function shared<A extends NumberArray>(
    type: { new (buffer: ArrayBuffer, offset: number, length: number): A; readonly BYTES_PER_ELEMENT: number },
    length: number,
  ): A & SharedMemory;
  /** Marks a function that may be called twice: a call whose worker ends under it is made again by another. */
  export function idempotent<F extends (...args: never[]) => unknown>(target: F): F;
  /** Inside a function that Python calls, before its first `await`: aborted when the caller cancels. Elsewhere it throws. */
  export function signal(): AbortSignal;

  /** What went wrong with a call itself. */
  export class CallError extends Error {
    readonly code: string;
  }
  export class CallTimeout extends CallError {}
  export class CallCancelled extends CallError {}
  export class ServiceBusy extends CallError {}
  export class CallTargetNotFound extends CallError {}
  export class Released extends CallError {}
  export class SharedMemoryFull extends CallError {}
  export class WorkerLost extends CallError {
    readonly started: 'no' | 'unknown';
  }
  export class CannotCross extends TypeError {
    readonly code: string;
  }
  /** What a Python function raised. */
  export class PythonError extends Error {
    /** The name of its class. */
    readonly type: string;
    /** Python's own traceback. */
    readonly remoteStack: string;
    readonly frames: readonly { file: string; line: number; column: number; function: string; source: string; language: string }[];
    [property: string]: unknown;
  }

  class Text {
    constructor(text: string);
    toString(): string;
    toJSON(): string;
  }
  /** `date`: 2026-11-24 */
  export class PlainDate extends Text {
    private readonly kind: 'date';
  }
  /** `datetime` without a zone: 2026-11-24T10:00:00 */
  export class PlainDateTime extends Text {
    private readonly kind: 'datetime';
  }
  /** `time`: 10:00:00 */
  export class PlainTime extends Text {
    private readonly kind: 'time';
  }
  /** `timedelta`: PT1.5S */
  export class Duration extends Text {
    private readonly kind: 'duration';
  }
  export class Uuid extends Text {
    private readonly kind: 'uuid';
  }
  export class Decimal extends Text {
    private readonly kind: 'decimal';
    constructor(number: string | number | bigint);
    valueOf(): number;
  }
  /** `datetime` with a zone. */
  export class ZonedDate extends Date {
    constructor(time: number | string, timeZone: string, microsecond?: number);
    readonly timeZone: string;
    readonly microsecond: number;
  }
  export type NumberArray =
    | Uint8Array | Uint8ClampedArray | Uint16Array | Uint32Array | BigUint64Array
    | Int8Array | Int16Array | Int32Array | BigInt64Array | Float32Array | Float64Array;
  /** A NumPy array of any type and shape, in C order. */
  export class NdArray {
    constructor(dtype: string, shape: number[], data: ArrayBufferView);
    readonly dtype: string;
    readonly shape: number[];
    readonly data: ArrayBufferView;
  }
  /** An Arrow IPC stream. */
  export class ArrowTable {
    constructor(bytes: Uint8Array);
    readonly bytes: Uint8Array;
  }

  export interface Subscription<Event = string | Uint8Array> extends AsyncIterable<Event> {
    close(): void;
    readonly topic: string;
    readonly dropped: number;
    [Symbol.dispose](): void;
  }
  export interface Presence {
    joined: boolean;
    name: string;
    members: number;
  }
  /** This process is no worker of a service that serves requests. */
  export class TopicsUnavailable extends Error {
    readonly code: string;
  }
  /** As many subscriptions are open as may be. */
  export class TopicsFull extends Error {
    readonly code: string;
  }
  /** Bytes sent, −1 if the message waits, 0 if it was refused. */
  export function publish(topic: string, data: string | Uint8Array | ArrayBuffer): number;
  export function subscribe(topic: string, callback?: (data: string | Uint8Array, topic: string) => unknown): Subscription;
  export function presence(topic: string, callback?: (event: Presence, topic: string) => unknown): Subscription<Presence>;
  export function topics(): Promise<Record<string, { sockets: number; workers: number }>>;
  /** A response of server-sent events. */
  export class EventStream {
    constructor(producer: (context: { lastEventId: string | null; signal: AbortSignal }) => any, options?: Record<string, unknown>);
    response(request: any): any;
    send(request: any, response: any): any;
  }
}
