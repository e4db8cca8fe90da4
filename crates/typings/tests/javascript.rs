//! What Python is told of JavaScript and TypeScript, file by file.

use std::collections::BTreeMap;
use std::path::Path;

use typings::javascript::{is_program, python_imports, stub};
use typings::{Module, package};

/// A file's stub without its head: its types, then the lines of its class.
#[track_caller]
fn check(name: &str, source: &str, expected: &str) {
    let text = stub(Path::new(name), source).unwrap().text(Path::new(name));
    let body = text.split_once("js_stream\n").unwrap().1.replace("    @staticmethod\n", "");
    assert_eq!(body.trim(), expected.trim(), "\n{body}");
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
        "interface A { a: string }\ninterface B extends A { b?: Mode }\ntype Mode = 'x' | 'y';\nexport function f(b: B): { at: Date } { throw 1 }",
        "class A(TypedDict):\n    a: str\n\nclass B(A):\n    b: NotRequired[Literal[\"x\", \"y\"]]\n\nclass Object1(TypedDict):\n    at: datetime.datetime\n\nclass Module:\n    @js_function\n    def f(b: B, /) -> Object1: ...",
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
        "class Counter(JsObject):\n    n: JsValue[float]\n    @js_function\n    def add(n: float, /) -> float: ...\n    size: JsValue[float]\n\nclass CounterClass:\n    @js_function\n    def new(start: float, /) -> Counter: ...\n    @js_function\n    def of() -> Counter: ...\n\nclass Module:\n    Counter: CounterClass",
    );
}

#[test]
fn what_is_not_certain_is_any() {
    check("a.js", "export * from './b.js';", "class Module:\n    def __getattr__(self, name: str) -> Any: ...");
    check("a.js", "export function f({ a }, b) { return a; }", "class Module:\n    @js_function\n    def f(arg0: Any, b: Any, /) -> Any: ...");
    check("a.js", "let x = 1;", "class Module:\n    pass");
    assert!(stub(Path::new("a.js"), "export function (").is_err());
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
    assert!(text.contains("def node(name: Literal[\"./b.js\"], *, service: str | None = ...) -> _Module1 | _Module2: ..."), "{text}");
    assert!(!package(&BTreeMap::new()).contains("@overload"));
}
