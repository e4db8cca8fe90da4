//! Logical lines, cyclomatic and cognitive complexity of one source file; pure.
//!
//! Both languages are counted by one set of rules, so that they can be compared:
//!
//! - **Logical lines** are statements and declarations, however many lines they fill. Docstrings, comments, braces, `else` and `finally` are
//!   none; `elif` is one, as JavaScript's `else if` is.
//! - **Cyclomatic** (McCabe, "A Complexity Measure", 1976): one for each function, and one for each decision: `if`, loops, cases other
//!   than the default, `catch` and `except`, conditional expressions, `&&`, `||`, `??`, `and`, `or`, and each `for` and `if` of a comprehension,
//!   which stands for a callback's function or a loop.
//! - **Cognitive** (G. Ann Campbell, "Cognitive Complexity", SonarSource, 2018): what breaks the linear flow, and more if it is nested; a run of
//!   like logical operators once; recursion, if direct, once for each function.

use std::ops::AddAssign;
use std::path::Path;

use tree_sitter::Node;

use crate::Fault;
use crate::syntax::{Language, children, parse, text};

/// Counts of one file, or of several added up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the module says what they are")]
pub struct Complexity {
    pub logical_lines: u64,
    pub cyclomatic: u64,
    pub cognitive: u64,
    /// Functions and methods, also without a name.
    pub functions: u64,
}

impl AddAssign for Complexity {
    fn add_assign(&mut self, other: Complexity) {
        self.logical_lines += other.logical_lines;
        self.cyclomatic += other.cyclomatic;
        self.cognitive += other.cognitive;
        self.functions += other.functions;
    }
}

/// Counts a file's source. The name tells the language.
pub fn complexity(file: &Path, source: &str) -> Result<Complexity, Fault> {
    let (language, tree) = parse(file, source)?;
    let mut count = Count { python: language == Language::Python, source, functions: Vec::new(), sum: Complexity::default() };
    // A stack of our own: sources nest as deep as their authors like.
    let mut waiting = vec![(tree.root_node(), Place::default())];
    while let Some((node, place)) = waiting.pop() {
        let inside = count.visit(node, place);
        waiting.extend(children(node).into_iter().map(|child| (child, place_of(child, node, inside))));
    }
    Ok(count.sum)
}

/// Where a node stands. The tree itself would look for a parent from its root down, which takes long in deep sources.
#[derive(Clone, Copy, Default)]
struct Place<'t> {
    parent: Option<Node<'t>>,
    /// Whether this is directly part of a logical operator's expression, parentheses aside.
    in_logical: bool,
    /// How deep in what nests.
    nesting: u64,
    /// The innermost function, by its index.
    function: Option<usize>,
}

impl Place<'_> {
    fn parent_kind(&self) -> &str {
        self.parent.map_or("", |parent| parent.kind())
    }

    fn is_else_if(&self, node: Node<'_>) -> bool {
        node.kind() == "if_statement" && self.parent_kind() == "else_clause"
    }
}

struct Function<'s> {
    name: &'s str,
    recursive: bool,
    outer: Option<usize>,
}

struct Count<'s> {
    python: bool,
    source: &'s str,
    functions: Vec<Function<'s>>,
    sum: Complexity,
}

impl<'s> Count<'s> {
    /// Counts a node itself; returns its own place as its children see it, but for what [`place_of`] says.
    fn visit<'t>(&mut self, node: Node<'t>, place: Place<'t>) -> Place<'t> {
        let kind = node.kind();
        // Tokens such as the word `if` share names with nothing that is counted.
        if !node.is_named() {
            return place;
        }
        self.sum.logical_lines += u64::from(self.is_logical_line(node, place));
        self.sum.cyclomatic += u64::from(self.is_decision(node));
        if is_function(kind) {
            self.sum.functions += 1;
            self.sum.cyclomatic += 1;
            self.functions.push(Function { name: self.name_of(node, place), recursive: false, outer: place.function });
            let nesting = if place.function.is_some() { place.nesting + 1 } else { 0 };
            return Place { nesting, function: Some(self.functions.len() - 1), ..place };
        }
        if is_logical(node) && !place.in_logical {
            self.sum.cognitive += runs_of_operators(node);
        }
        match kind {
            "if_statement" if place.is_else_if(node) => self.sum.cognitive += 1,
            _ if breaks_flow(kind) => self.sum.cognitive += 1 + place.nesting,
            "elif_clause" => self.sum.cognitive += 1,
            "else_clause" if !holds_if(node) && place.parent_kind() != "try_statement" => self.sum.cognitive += 1,
            "break_statement" | "continue_statement" if node.named_child_count() > 0 => self.sum.cognitive += 1,
            "call_expression" | "call" => self.note_recursion(node, place.function),
            _ => {}
        }
        place
    }

    fn is_logical_line(&self, node: Node<'_>, place: Place<'_>) -> bool {
        match node.kind() {
            // The three parts of a loop's head are no statements of their own.
            "expression_statement" | "lexical_declaration" | "variable_declaration" if place.parent_kind() == "for_statement" => {
                place.parent.and_then(|parent| parent.child_by_field_name("body")) == Some(node)
            }
            "expression_statement" => !(self.python && is_docstring(node)),
            // `export function f() {}` is one declaration.
            "export_statement" => node.child_by_field_name("declaration").is_none(),
            "return_statement"
            | "if_statement"
            | "elif_clause"
            | "for_statement"
            | "for_in_statement"
            | "while_statement"
            | "do_statement"
            | "try_statement"
            | "with_statement"
            | "switch_statement"
            | "match_statement"
            | "break_statement"
            | "continue_statement"
            | "pass_statement"
            | "raise_statement"
            | "throw_statement"
            | "debugger_statement"
            | "import_statement"
            | "import_from_statement"
            | "future_import_statement"
            | "global_statement"
            | "nonlocal_statement"
            | "assert_statement"
            | "delete_statement"
            | "type_alias_statement"
            | "lexical_declaration"
            | "variable_declaration"
            | "function_declaration"
            | "generator_function_declaration"
            | "function_definition"
            | "class_declaration"
            | "abstract_class_declaration"
            | "class_definition"
            | "method_definition"
            | "field_definition"
            | "public_field_definition"
            | "interface_declaration"
            | "type_alias_declaration"
            | "enum_declaration" => true,
            _ => false,
        }
    }

    fn is_decision(&self, node: Node<'_>) -> bool {
        match node.kind() {
            "if_statement"
            | "elif_clause"
            | "for_statement"
            | "for_in_statement"
            | "while_statement"
            | "do_statement"
            | "switch_case"
            | "catch_clause"
            | "except_clause"
            | "ternary_expression"
            | "conditional_expression"
            | "boolean_operator"
            | "for_in_clause"
            | "if_clause" => true,
            "case_clause" => !is_wildcard(node, self.source),
            "binary_expression" | "augmented_assignment_expression" => {
                let operator = node.child_by_field_name("operator").map_or("", |operator| operator.kind());
                matches!(operator, "&&" | "||" | "??" | "&&=" | "||=" | "??=")
            }
            _ => false,
        }
    }

    fn name_of(&self, function: Node<'_>, place: Place<'_>) -> &'s str {
        let named = function.child_by_field_name("name").or_else(|| {
            place
                .parent
                .filter(|parent| parent.kind() == "variable_declarator")
                .and_then(|parent| parent.child_by_field_name("name"))
        });
        named.map_or("", |name| text(name, self.source))
    }

    fn note_recursion(&mut self, call: Node<'_>, innermost: Option<usize>) {
        let Some(callee) = call.child_by_field_name("function") else { return };
        let name = match callee.kind() {
            "identifier" => text(callee, self.source),
            "member_expression" | "attribute" => {
                let owner = callee.child_by_field_name("object").map_or("", |object| text(object, self.source));
                let member = callee.child_by_field_name("property").or_else(|| callee.child_by_field_name("attribute"));
                match member {
                    Some(member) if matches!(owner, "this" | "self") => text(member, self.source),
                    _ => return,
                }
            }
            _ => return,
        };
        let mut around = innermost;
        while let Some(index) = around {
            let function = &mut self.functions[index];
            if function.name == name {
                self.sum.cognitive += u64::from(!function.recursive);
                function.recursive = true;
                return;
            }
            around = function.outer;
        }
    }
}

/// Where a child of `parent` stands, which itself stands at `inside`: bodies of what breaks the flow are one deeper than it,
/// conditions are not.
fn place_of<'t>(child: Node<'t>, parent: Node<'t>, inside: Place<'t>) -> Place<'t> {
    let kind = parent.kind();
    let deeper = match kind {
        "else_clause" => inside.parent_kind() != "try_statement" && child.kind() != "if_statement",
        "elif_clause" => !is_condition(child, parent),
        // Their `else` says itself what it nests.
        _ if breaks_flow(kind) => !matches!(child.kind(), "else_clause" | "elif_clause") && !is_condition(child, parent),
        _ => false,
    };
    Place {
        parent: Some(parent),
        in_logical: is_logical(parent) || (inside.in_logical && kind == "parenthesized_expression"),
        nesting: inside.nesting + u64::from(deeper),
        function: inside.function,
    }
}

fn is_function(kind: &str) -> bool {
    matches!(
        kind,
        "function_declaration"
            | "generator_function_declaration"
            | "function_expression"
            | "generator_function"
            | "arrow_function"
            | "method_definition"
            | "function_definition"
            | "lambda"
    )
}

/// What counts one, and one more for each level it is nested in.
fn breaks_flow(kind: &str) -> bool {
    matches!(
        kind,
        "if_statement"
            | "for_statement"
            | "for_in_statement"
            | "while_statement"
            | "do_statement"
            | "switch_statement"
            | "match_statement"
            | "catch_clause"
            | "except_clause"
            | "ternary_expression"
            | "conditional_expression"
    )
}

/// An `else if` counts as its `if` alone.
fn holds_if(clause: Node<'_>) -> bool {
    children(clause).into_iter().any(|child| child.kind() == "if_statement")
}

fn is_condition(child: Node<'_>, parent: Node<'_>) -> bool {
    ["condition", "left", "right", "initializer", "increment", "value", "subject", "parameter"]
        .iter()
        .any(|field| parent.child_by_field_name(field) == Some(child))
}

fn is_docstring(statement: Node<'_>) -> bool {
    statement.named_child_count() == 1 && statement.named_child(0).is_some_and(|child| child.kind() == "string")
}

fn is_wildcard(case: Node<'_>, source: &str) -> bool {
    let patterns: Vec<&str> =
        children(case).into_iter().filter(|child| child.kind() == "case_pattern").map(|pattern| text(pattern, source)).collect();
    patterns == ["_"] && case.child_by_field_name("guard").is_none()
}

/// Logical operators whose runs are counted; `??` is a shorthand, which the rules leave out.
fn is_logical(node: Node<'_>) -> bool {
    match node.kind() {
        "boolean_operator" => true,
        "binary_expression" => {
            node.child_by_field_name("operator").is_some_and(|operator| matches!(operator.kind(), "&&" | "||"))
        }
        _ => false,
    }
}

/// In `a && b && c || d` there are two runs.
fn runs_of_operators(outermost: Node<'_>) -> u64 {
    let mut operators = Vec::new();
    let mut waiting = vec![outermost];
    while let Some(node) = waiting.pop() {
        if is_logical(node) {
            if let Some(operator) = node.child_by_field_name("operator") {
                operators.push((operator.start_byte(), operator.kind()));
            }
            waiting.extend(children(node));
        } else if node.kind() == "parenthesized_expression" {
            waiting.extend(children(node));
        }
    }
    operators.sort_unstable();
    operators.dedup_by_key(|(_, kind)| *kind);
    operators.len() as u64
}
