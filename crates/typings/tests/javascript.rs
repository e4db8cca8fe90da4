//! What Python is told of JavaScript and TypeScript, file by file.

use std::collections::BTreeMap;
use std::path::Path;

use typings::javascript::{is_program, python_imports, stub};
use typings::{Module, package};

/// A file's stub without its head: its types, then the lines of its class.
#[track_caller]
fn check(name: &str, source: &str, expected: &str) {
    check_files(&[(name, source)], expected);
}

/// The same of the first file, which imports the others.
#[track_caller]
fn check_files(files: &[(&str, &str)], expected: &str) {
    let read =
        |path: &Path| files.iter().find(|(name, _)| Path::new("/app").join(name) == path).map(|(_, text)| (*text).to_owned());
    let path = Path::new("/app").join(files[0].0);
    let text = stub(&path, &read, true).unwrap().text(&path);
    let text = text.replace("    @staticmethod\n", "");
    let head = |line: &&str| line.is_empty() || ["#", "import ", "from "].iter().any(|word| line.starts_with(word));
    let body = text.lines().skip_while(head).collect::<Vec<_>>().join("\n");
    assert_eq!(body.trim(), expected.trim(), "\n{body}");
}

/// What the stub of a file has among other things.
#[track_caller]
fn check_contains(files: &[(&str, &str)], expected: &[&str]) {
    let read =
        |path: &Path| files.iter().find(|(name, _)| Path::new("/app").join(name) == path).map(|(_, text)| (*text).to_owned());
    let path = Path::new("/app").join(files[0].0);
    let text = stub(&path, &read, true).unwrap().text(&path).replace("    @staticmethod\n", "");
    for expected in expected {
        assert!(text.contains(expected), "{expected}\n--- is not in ---\n{text}");
    }
}

#[test]
fn annotations_and_comments_say_types() {
    check(
        "a.ts",
        "export async function f(a: string, b?: number, ...c: bigint[]): Promise<string[]> { return [a]; }",
        "class Module:\n    @js_function\n    def f(a: str, b: float = ..., /, *c: int) -> list[str]: ...",
    );
    check(
        "a.js",
        "/**\n * Adds.\n * @param {number} a\n * @param {?number} [b]\n * @returns {number | null}\n */\nexports.add = (a, b) => a + b;",
        "class Module:\n    @js_function\n    def add(a: float, b: float | None = ..., /) -> float | None:\n        \"\"\"Adds.\"\"\"",
    );
    check(
        "a.js",
        "module.exports = { log(text) { console.log(text); }, VERSION: '1', other: require('x') };",
        "class Module:\n    @js_function\n    def log(text: Any, /) -> None: ...\n    VERSION: JsValue[str]\n    other: Any",
    );
}

#[test]
fn generators_are_streams() {
    check(
        "a.ts",
        "export async function* rows(): AsyncGenerator<Date> {}\nexport function feed(): AsyncIterable<Uint8Array> { return rows(); }",
        "class Module:\n    @js_stream\n    def rows() -> datetime.datetime: ...\n    @js_stream\n    def feed() -> bytes: ...",
    );
    check("a.js", "export default function* () {}", "class Module:\n    @js_stream\n    def default() -> Any: ...");
}

#[test]
fn objects_become_typed_dicts() {
    check(
        "a.ts",
        "interface A { a: string }\ninterface B extends A { b?: Mode }\ntype Mode = 'x' | 'y';\nexport function f(b: B[]): { at: Date } { throw 1 }",
        "class B(TypedDict):\n    a: str\n    b: NotRequired[Literal[\"x\", \"y\"]]\n\nclass Object1(TypedDict):\n    at: datetime.datetime\n\nclass Module:\n    @js_function\n    def f(b: Sequence[B], /) -> Object1: ...",
    );
    // A type that leads to itself ends.
    check(
        "a.ts",
        "export interface Tree { children: Tree[] }\ntype L = L[];\nexport const f = (t: Tree, l: L): void => {};",
        "class Tree(TypedDict):\n    children: list[Tree]\n\nclass Module:\n    @js_function\n    def f(t: Tree, l: Sequence[Any], /) -> None: ...",
    );
}

#[test]
fn classes_have_instances_that_stay() {
    check(
        "a.ts",
        "export class Counter { n = 1; constructor(start: number) {} add(n: number): number { return n }\n static of(): Counter { throw 1 } get size(): number { return 1 } }",
        "class Counter(JsObject):\n    n: JsValue[float]\n    size: JsValue[float]\n    @js_function\n    def add(n: float, /) -> float: ...\n\nclass CounterClass:\n    @js_function\n    def new(start: float, /) -> Counter: ...\n    @js_function\n    def of() -> Counter: ...\n\nclass Module:\n    Counter: CounterClass",
    );
}

#[test]
fn types_and_exports_of_other_files_are_followed() {
    let types =
        "export interface User { name: string }\nexport type Rows<T> = T[];\nexport default interface Page { rows: Rows<User> }";
    let source = "import type Page from './types.js';\nimport * as types from './types.js';\nexport { helper as help } from './more.mjs';\n\
                  export * from './more.mjs';\nexport const f = (users: types.User[]): Page => ({ rows: users });";
    let more = "/** @param {Array<import('./types.ts').User>} users */\nexport function helper(users) {}\nexport default 1;";
    check_files(
        &[("a.ts", source), ("types.ts", types), ("more.mjs", more)],
        "class User(TypedDict):\n    name: str\n\nclass Page(TypedDict):\n    rows: list[User]\n\nclass Module:\n    @js_function\n    \
         def helper(users: Sequence[User], /) -> None: ...\n    @js_function\n    def help(users: Sequence[User], /) -> None: ...\n    \
         @js_function\n    def f(users: Sequence[User], /) -> Page: ...",
    );
    // What lies outside of the project is open.
    check(
        "a.js",
        "module.exports = { ...require('package') };",
        "class Module:\n    def __getattr__(self, name: str) -> Any: ...",
    );
}

#[test]
fn objects_are_put_together_as_typescript_does() {
    let source = "interface A { a: string; b?: number; at(n: number): Date }\nexport const f = (one: Array<Partial<Pick<A, 'a'>> & Omit<A, 'a' | 'at'>>, \
                  key: keyof A, at: A['at'], a: A['a']): void => {};";
    check_contains(
        &[("a.ts", source)],
        &[
            "class Object1(TypedDict):\n    a: NotRequired[str]\n    b: NotRequired[float]\n",
            "def f(one: Sequence[Object1], key: Literal[\"a\", \"b\", \"at\"], at: Callable[[float], datetime.datetime | Awaitable[datetime.datetime]], a: str, /)",
        ],
    );
}

#[test]
fn type_variables_stay() {
    check_contains(
        &[(
            "a.ts",
            "export interface Page<T> { items: T[]; next?: Page<T> }\nexport class Box<T> { constructor(public item: T) {} get(): T { throw 1 } }\n\
             export function first<T extends string>(pages: Page<T>[]): T { throw 1 }\nexport class Words extends Box<string> {}",
        )],
        &[
            "_T = TypeVar(\"_T\")\n_T2 = TypeVar(\"_T2\", bound=str)\n",
            "class Page(TypedDict, Generic[_T]):\n    items: list[_T]\n    next: NotRequired[Page[_T]]\n",
            "class Box(JsObject, Generic[_T]):\n    item: JsValue[_T]\n    @js_function\n    def get() -> _T: ...\n",
            "class NewFunction:\n    def __call__(self, item: _T, /) -> Awaitable[Box[_T]]: ...\n    def sync(self, item: _T, /) -> Box[_T]: ...\n",
            "class FirstFunction:\n    def __call__(self, pages: Sequence[Page[_T2]], /) -> Awaitable[_T2]: ...\n",
            "class Words(Box[str]):\n",
        ],
    );
}

#[test]
fn overloads_stay() {
    let source = "export function f(a: string): string;\nexport function f(a: number, b?: number): Date;\nexport function f(a: any): any { return a }";
    check_contains(
        &[("a.ts", source)],
        &[
            "    @overload\n    def __call__(self, a: str, /) -> Awaitable[str]: ...\n    @overload\n    def __call__(self, a: float, b: float = ..., /) -> Awaitable[datetime.datetime]: ...\n",
            "    def with_(self, *, timeout: float | None = ..., idempotent: bool | None = ...) -> FFunction: ...\n\nclass Module:\n    f: FFunction",
        ],
    );
}

#[test]
fn enums_and_objects_lead_to_values() {
    check(
        "a.ts",
        "export enum Color { Red = 'red', Blue = 2, Green }\nexport const f = (color: Color): void => {};",
        "class ColorEnum(JsValue[dict[str, Any]]):\n    Red: JsValue[Literal[\"red\"]]\n    Blue: JsValue[Literal[2]]\n    Green: JsValue[Literal[3]]\n\n\
         class Module:\n    Color: ColorEnum\n    @js_function\n    def f(color: Literal[\"red\", 2, 3], /) -> None: ...",
    );
    check(
        "a.js",
        "export const api = { v1: { /** @returns {string} */ page() {} }, LIMIT: -3 };",
        "class V1Object(JsValue[dict[str, Any]]):\n    @js_function\n    def page() -> str: ...\n\n\
         class ApiObject(JsValue[dict[str, Any]]):\n    v1: V1Object\n    LIMIT: JsValue[float]\n\nclass Module:\n    api: ApiObject",
    );
}

#[test]
fn comments_declare_types_too() {
    let source = "/** @typedef {object} Props\n * @property {string} title\n * @property {number} [depth]\n */\n/** @callback Tell\n * @param {string} text\n * @returns {boolean}\n */\n\
                  /**\n * @template T\n * @param {Props[]} all\n * @param {Tell} tell\n * @param {T} one\n * @param {object} options\n * @param {string} [options.lang]\n * @returns {T}\n */\n\
                  export function f(all, tell, one, options) {}";
    check_contains(
        &[("a.js", source)],
        &[
            "class Props(TypedDict):\n    title: str\n    depth: NotRequired[float]\n",
            "def __call__(self, all: Sequence[Props], tell: Callable[[str], bool | Awaitable[bool]], one: _T, options: Object1, /) -> Awaitable[_T]: ...\n",
            "def __call__(self, all: Sequence[Props], tell: Callable[[str], bool | Awaitable[bool]], one: _T, /, *, lang: str = ...) -> Awaitable[_T]: ...\n",
        ],
    );
}

#[test]
fn arrays_are_those_of_numpy() {
    let source = "export const f = (a: Float64Array): BigInt64Array => { throw 1 };";
    check(
        "a.ts",
        source,
        "class Module:\n    @js_function\n    def f(a: NDArray[np.float64] | array.array[float], /) -> NDArray[np.int64]: ...",
    );
    let without = stub(Path::new("a.ts"), &|_| Some(source.to_owned()), false).unwrap().text(Path::new("a.ts"));
    assert!(
        without.contains("def f(a: array.array[float], /) -> array.array[int]: ...") && !without.contains("numpy"),
        "{without}"
    );
}

#[test]
fn callbacks_say_what_they_get() {
    check(
        "a.ts",
        "export const f = (each: (n: number) => string): ((n: Date) => void) => { throw 1 };",
        "class Module:\n    @js_function\n    def f(each: Callable[[float], str | Awaitable[str]], /) -> Callable[[datetime.datetime], Awaitable[None]]: ...",
    );
}

#[test]
fn a_last_object_may_be_keywords() {
    check(
        "a.js",
        "export function f(text, { top = 3, ...rest } = {}) { }",
        "class Module:\n    @js_function\n    def f(text: Any, arg1: Any = ..., /) -> None: ...",
    );
    check_contains(
        &[("a.js", "export function g(text = '', { top = 3, mode } = {}) { }")],
        &[
            "class Object1(TypedDict):\n    top: NotRequired[float]\n    mode: NotRequired[Any]\n",
            "    @overload\n    def sync(self, text: str = ..., arg1: Object1 = ..., /) -> None: ...\n    @overload\n    def sync(self, text: str, /, *, top: float = ..., mode: Any = ...) -> None: ...\n",
        ],
    );
}

#[test]
fn what_is_not_certain_is_any() {
    check("a.js", "export * from './b.js';", "class Module:\n    def __getattr__(self, name: str) -> Any: ...");
    check(
        "a.js",
        "export function f({ a, ...rest }, b) { return a; }",
        "class Module:\n    @js_function\n    def f(arg0: Any, b: Any, /) -> Any: ...",
    );
    check("a.js", "let x = 1;", "class Module:\n    pass");
    check(
        "a.ts",
        "import { T } from 'package';\nexport const f = (a: T): T['x'] => a;",
        "class Module:\n    @js_function\n    def f(a: Any, /) -> Any: ...",
    );
    assert!(stub(Path::new("a.js"), &|_| Some("export function (".to_owned()), true).is_err());
    assert!(stub(Path::new("a.js"), &|_| None, true).is_err());
}

#[test]
fn imports_of_python_are_found_in_every_form() {
    let source = "import a from './a.py';\nexport { b } from '../b.py';\nconst c = require('./c.py');\nawait import('./d.py');\n\
                  import './e.js';\nrequire(x);\nimport 'pkg/f.py';\n// import './g.py'\ntype T = import('./h.py').T;";
    assert_eq!(python_imports(Path::new("a.ts"), source), ["./a.py", "../b.py", "./c.py", "./d.py", "./h.py"]);
    assert!(python_imports(Path::new("a.js"), "this is (no JavaScript './a.py'").is_empty());
    assert!(is_program(Path::new("a.tsx")) && !is_program(Path::new("a.d.py.ts")) && !is_program(Path::new("a.py")));
}

#[test]
fn literals_lead_to_modules() {
    let module = |path: &str| Module::of(Path::new(path));
    assert_eq!(module("web/2-render.mjs").name, "web_2_render_mjs");
    let two = BTreeMap::from([
        ("./a.js".to_owned(), vec![module("a.js")]),
        ("./b.js".to_owned(), vec![module("b.js"), module("x/b.js")]),
    ]);
    let text = package(&two);
    assert!(text.contains("from .js.x_b_js import Module as _Module2\n"), "{text}");
    assert!(
        text.contains("def node(name: Literal[\"./b.js\"], *, service: str | None = ...) -> _Module1 | _Module2: ..."),
        "{text}"
    );
    assert!(!package(&BTreeMap::new()).contains("@overload"));
}
