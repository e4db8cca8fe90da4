//! Which Python files a file of JavaScript or TypeScript imports.

use std::path::Path;

use oxc_allocator::Allocator;
use oxc_ast::ast::*;
use oxc_ast_visit::{Visit, walk};

use super::files::parse;

/// The Python files that a file imports, as it writes them: `./model.py`.
pub fn python_imports(path: &Path, text: &str) -> Vec<String> {
    // Most files import none, and need not be parsed.
    if !text.contains(".py") {
        return Vec::new();
    }
    let allocator = Allocator::default();
    let mut imports = Imports(Vec::new());
    imports.visit_program(&parse(&allocator, path, text).program);
    imports.0
}

struct Imports(Vec<String>);

impl Imports {
    fn add(&mut self, source: &str) {
        if source.ends_with(".py")
            && (source.starts_with("./") || source.starts_with("../"))
            && !self.0.iter().any(|s| s == source)
        {
            self.0.push(source.to_owned());
        }
    }
}

impl<'a> Visit<'a> for Imports {
    fn visit_import_declaration(&mut self, it: &ImportDeclaration<'a>) {
        self.add(&it.source.value);
    }

    fn visit_export_from_declaration(&mut self, it: &ExportFromDeclaration<'a>) {
        self.add(&it.source.value);
    }

    fn visit_export_all_declaration(&mut self, it: &ExportAllDeclaration<'a>) {
        self.add(&it.source.value);
    }

    fn visit_import_expression(&mut self, it: &ImportExpression<'a>) {
        if let Expression::StringLiteral(source) = &it.source {
            self.add(&source.value);
        }
        walk::walk_import_expression(self, it);
    }

    fn visit_ts_import_type(&mut self, it: &TSImportType<'a>) {
        self.add(&it.source.value);
        walk::walk_ts_import_type(self, it);
    }

    fn visit_call_expression(&mut self, it: &CallExpression<'a>) {
        if let (Expression::Identifier(callee), [Argument::StringLiteral(source)]) = (&it.callee, &it.arguments[..])
            && callee.name == "require"
        {
            self.add(&source.value);
        }
        walk::walk_call_expression(self, it);
    }
}
