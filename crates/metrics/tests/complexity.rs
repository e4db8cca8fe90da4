//! Counts whose answers are known: from the metrics' own papers, and by hand.

use std::path::Path;

use metrics::{Complexity, complexity};

fn check(name: &str, source: &str, logical_lines: u64, functions: u64, cyclomatic: u64, cognitive: u64) {
    let found = complexity(Path::new(name), source).unwrap_or_else(|fault| panic!("{fault}"));
    assert_eq!(found, Complexity { logical_lines, cyclomatic, cognitive, functions }, "{source}");
}

/// Campbell's first example: cyclomatic 4, cognitive 7.
#[test]
fn sum_of_primes() {
    let javascript = "
        function sumOfPrimes(max) {
            let total = 0;
            OUT: for (let i = 1; i <= max; ++i) {
                for (let j = 2; j < i; ++j) {
                    if (i % j === 0) {
                        continue OUT;
                    }
                }
                total += i;
            }
            return total;
        }";
    check("a.js", javascript, 8, 1, 4, 7);
    check("a.ts", &javascript.replace("(max)", "(max: number): number"), 8, 1, 4, 7);
    // Python has no labels: an `else` of the loop takes the jump's place, and its one.
    let python = "
def sum_of_primes(maximum):
    total = 0
    for i in range(1, maximum + 1):
        for j in range(2, i):
            if i % j == 0:
                break
        else:
            total += i
    return total
";
    check("a.py", python, 8, 1, 4, 7);
}

/// Campbell's second: cyclomatic 4, cognitive 1.
#[test]
fn get_words() {
    let javascript = "
        function getWords(number) {
            switch (number) {
                case 1: return 'one';
                case 2: return 'a couple';
                case 3: return 'a few';
                default: return 'lots';
            }
        }";
    check("a.mjs", javascript, 6, 1, 4, 1);
    let python = "
def get_words(number):
    match number:
        case 1:
            return 'one'
        case 2:
            return 'a couple'
        case 3:
            return 'a few'
        case _:
            return 'lots'
";
    check("a.py", python, 6, 1, 4, 1);
}

/// Campbell's operators: two runs in the first, three in the second, and one again behind a negation.
#[test]
fn runs_of_operators() {
    check("a.js", "if (a && b && c || d) f();", 2, 0, 4, 1 + 2);
    check("a.js", "if (a && b && c || d || e && f) g();", 2, 0, 6, 1 + 3);
    check("a.js", "if (a && !(b && c)) g();", 2, 0, 3, 1 + 2);
    check("a.py", "if a and b and c or d:\n    f()\n", 2, 0, 4, 1 + 2);
    check("a.py", "if a or b and c or d:\n    f()\n", 2, 0, 4, 1 + 3);
}

#[test]
fn else_if_is_flat_in_both() {
    check("a.js", "function f(a) { if (a > 1) { g(); } else if (a > 0) { h(); } else { i(); } }", 6, 1, 3, 3);
    check("a.py", "def f(a):\n    if a > 1:\n        g()\n    elif a > 0:\n        h()\n    else:\n        i()\n", 6, 1, 3, 3);
}

#[test]
fn what_is_caught_nests_and_what_is_tried_does_not() {
    check("a.js", "function f() { try { if (a) b(); } catch (e) { if (c) d(); } finally { g(); } }", 7, 1, 4, 1 + 1 + 2);
    check(
        "a.py",
        "def f():\n    try:\n        if a: b()\n    except E:\n        if c: d()\n    finally:\n        g()\n",
        7,
        1,
        4,
        1 + 1 + 2,
    );
}

#[test]
fn functions_inside_functions_nest() {
    check("a.js", "function f() { return () => { if (a) b(); }; }", 4, 2, 3, 2);
    check("a.py", "def f():\n    def g():\n        if a: b()\n    return g\n", 5, 2, 3, 2);
    check("a.py", "f = lambda a: 1 if a else 2\n", 1, 1, 2, 1);
}

#[test]
fn recursion_counts_once() {
    check("a.js", "function f(n) { return n < 2 ? n : f(n - 1) + f(n - 2); }", 2, 1, 2, 1 + 1);
    check("a.py", "def f(n):\n    return n if n < 2 else f(n - 1) + f(n - 2)\n", 2, 1, 2, 1 + 1);
    check("a.js", "class A { walk() { this.walk(); } }", 3, 1, 1, 1);
}

#[test]
fn a_comprehension_decides_what_a_callback_does() {
    check("a.py", "x = [a for a in b if a]\n", 1, 0, 2, 0);
    check("a.js", "x = b.filter((a) => a);", 1, 1, 1, 0);
}

#[test]
fn docstrings_comments_and_heads_are_no_lines() {
    check("a.py", "\"\"\"Says.\"\"\"\n# a comment\ndef f():\n    \"\"\"Says.\"\"\"\n    pass\n", 2, 1, 1, 0);
    check("a.js", "// a comment\nexport function f() {\n}\nexport default f;\n", 2, 1, 1, 0);
    check("a.tsx", "const a: A = <b>{c ?? d}</b>;", 1, 0, 1, 0);
}

#[test]
fn deep_sources_do_not_overflow() {
    let source = format!("x = {}1{}\n", "(".repeat(50_000), ")".repeat(50_000));
    // Either answer will do: the point is that there is one.
    let _ = complexity(Path::new("a.py"), &source);
    check("a.js", &format!("x = {};", "a + ".repeat(50_000) + "a"), 1, 0, 0, 0);
}

#[test]
fn what_does_not_parse_is_refused_with_its_line() {
    let fault = complexity(Path::new("b.py"), "a = 1\nb = = 2\n").unwrap_err();
    assert_eq!(fault.to_string(), "b.py:2: does not parse as Python");
    let fault = complexity(Path::new("b.rb"), "").unwrap_err();
    assert_eq!(fault.to_string(), "b.rb: is neither JavaScript, TypeScript nor Python by its name");
}
