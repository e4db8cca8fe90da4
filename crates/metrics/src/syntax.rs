//! Languages, and trees of their sources.

use std::path::Path;

use tree_sitter::{Node, Parser, Tree};

use crate::Fault;

/// What a file is written in, by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Language {
    JavaScript,
    TypeScript,
    TypeScriptJsx,
    Python,
}

impl Language {
    /// By the file's extension.
    pub fn of(file: &Path) -> Result<Language, Fault> {
        match file.extension().and_then(|extension| extension.to_str()) {
            Some("js" | "mjs" | "cjs" | "jsx") => Ok(Language::JavaScript),
            Some("ts" | "mts" | "cts") => Ok(Language::TypeScript),
            Some("tsx") => Ok(Language::TypeScriptJsx),
            Some("py") => Ok(Language::Python),
            _ => Err(Fault::whole(file, "is neither JavaScript, TypeScript nor Python by its name")),
        }
    }

    fn grammar(self) -> tree_sitter::Language {
        match self {
            Language::JavaScript => tree_sitter_javascript::LANGUAGE.into(),
            Language::TypeScript => tree_sitter_typescript::LANGUAGE_TYPESCRIPT.into(),
            Language::TypeScriptJsx => tree_sitter_typescript::LANGUAGE_TSX.into(),
            Language::Python => tree_sitter_python::LANGUAGE.into(),
        }
    }
}

/// Parses a file. A tree with a mistake in it would count wrongly, so that is a fault.
pub(crate) fn parse(file: &Path, source: &str) -> Result<(Language, Tree), Fault> {
    let language = Language::of(file)?;
    let mut parser = Parser::new();
    parser.set_language(&language.grammar()).map_err(|error| Fault::whole(file, error.to_string()))?;
    let tree = parser.parse(source, None).ok_or_else(|| Fault::whole(file, "could not be parsed"))?;
    if tree.root_node().has_error() {
        let line = first_error(tree.root_node()).map_or(0, |node| node.start_position().row + 1);
        return Err(Fault { file: file.to_owned(), line, what: format!("does not parse as {language:?}") });
    }
    Ok((language, tree))
}

fn first_error(root: Node<'_>) -> Option<Node<'_>> {
    let mut waiting = vec![root];
    while let Some(node) = waiting.pop() {
        if node.is_error() || node.is_missing() {
            return Some(node);
        }
        let with_errors: Vec<Node<'_>> = children(node).into_iter().filter(Node::has_error).collect();
        waiting.extend(with_errors.into_iter().rev());
    }
    None
}

/// All children, tokens too.
pub(crate) fn children(node: Node<'_>) -> Vec<Node<'_>> {
    node.children(&mut node.walk()).collect()
}

/// The source of a node.
pub(crate) fn text<'s>(node: Node<'_>, source: &'s str) -> &'s str {
    // Nodes end between characters: the grammars read UTF-8.
    source.get(node.byte_range()).unwrap_or_default()
}
