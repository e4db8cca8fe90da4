//! Programs of several files and their packages, on disk.

use std::fs;
use std::path::Path;

use metrics::{imports, measure};

fn write(folder: &Path, files: &[(&str, &str)]) {
    for (name, content) in files {
        let path = folder.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
}

fn names(name: &str, source: &str) -> Vec<String> {
    let mut found: Vec<String> =
        imports(Path::new(name), source).unwrap().into_iter().map(|import| import.package().to_owned()).collect();
    found.sort();
    found
}

#[test]
fn imports_are_read_in_every_form() {
    let source = "import a from 'a/part.js'; export * from \"@b/c/d\"; const e = require('e'); await import('f'); import 'node:fs'; require(g);";
    assert_eq!(names("x.mjs", source), ["@b/c", "a", "e", "f"]);
    assert_eq!(names("x.py", "import a.b, c as d\nfrom e.f import g\ndef h():\n    import i\n"), ["a", "c", "e", "i"]);
}

#[test]
fn a_node_program_is_its_files_and_the_packages_it_reaches() {
    let folder = tempfile::tempdir().unwrap();
    write(
        folder.path(),
        &[
            ("app/server.mjs", "import express from 'express'; import { a } from './lib/a.js'; import fs from 'fs';"),
            ("app/lib/a.js", "import '../server.mjs'; export function a() { return 1; }"),
            ("app/lib/unused.js", "import 'left-pad';"),
            (
                "node_modules/express/package.json",
                r#"{"name":"express","version":"5.0.0","dependencies":{"router":"1"},"devDependencies":{"mocha":"1"}}"#,
            ),
            ("node_modules/express/index.js", "0123456789"),
            (
                "node_modules/express/node_modules/router/package.json",
                r#"{"name":"router","version":"2.0.0","dependencies":{"express":"5"}}"#,
            ),
            ("node_modules/router/package.json", r#"{"name":"router","version":"1.0.0"}"#),
            ("node_modules/left-pad/package.json", r#"{"name":"left-pad","version":"1.0.0"}"#),
            ("node_modules/mocha/package.json", r#"{"name":"mocha","version":"1.0.0"}"#),
        ],
    );
    let root = folder.path().canonicalize().unwrap();
    let program = measure(&root.join("app/server.mjs"), &root.join("app"), None).unwrap();
    assert_eq!(program.files, [root.join("app/server.mjs"), root.join("app/lib/a.js")]);
    assert_eq!(program.packages.names, ["express 5.0.0", "router 2.0.0"]);
    let manifests =
        ["express", "express/node_modules/router"].map(|name| root.join("node_modules").join(name).join("package.json"));
    let expected: u64 = manifests.iter().map(|path| fs::metadata(path).unwrap().len()).sum::<u64>() + 10;
    assert_eq!(program.packages.bytes, expected);
}

#[test]
fn a_python_program_is_its_files_and_the_packages_it_reaches() {
    let folder = tempfile::tempdir().unwrap();
    let site = ".venv/lib/python3.12/site-packages";
    write(
        folder.path(),
        &[
            ("app/main.py", "import json\nimport fastapi\nfrom app.routes import orders\n"),
            ("app/__init__.py", ""),
            ("app/routes/__init__.py", ""),
            ("app/routes/orders.py", "from . import prices\nfrom ..names import NAMES\n"),
            ("app/routes/prices.py", "PRICES = {}\n"),
            ("app/names.py", "NAMES = []\n"),
            ("app/unused.py", "import numpy\n"),
            (
                &format!("{site}/fastapi-1.0.dist-info/METADATA"),
                "Name: FastAPI\nVersion: 1.0\nRequires-Dist: starlette>=1\nRequires-Dist: numpy ; extra == 'fast'\n",
            ),
            (&format!("{site}/fastapi-1.0.dist-info/RECORD"), "fastapi/__init__.py,sha256=x,50\n"),
            (
                &format!("{site}/starlette-1.1.dist-info/METADATA"),
                "Name: starlette\nVersion: 1.1\nRequires-Dist: absent ; sys_platform == 'win32'\n",
            ),
            (&format!("{site}/starlette-1.1.dist-info/RECORD"), "starlette/__init__.py,sha256=x,7\n"),
            (&format!("{site}/numpy-2.0.dist-info/METADATA"), "Name: numpy\nVersion: 2.0\n"),
            (&format!("{site}/numpy-2.0.dist-info/RECORD"), "numpy/__init__.py,sha256=x,900\n"),
        ],
    );
    let root = folder.path().canonicalize().unwrap();
    let program = measure(&root.join("app/main.py"), &root, Some(&root.join(".venv/bin/python"))).unwrap();
    let mut files = program.files.clone();
    files.sort();
    let expected = ["app/main.py", "app/names.py", "app/routes/orders.py", "app/routes/prices.py"];
    assert_eq!(files, expected.map(|file| root.join(file)));
    assert_eq!(program.packages.names, ["fastapi 1.0", "starlette 1.1"]);
    assert_eq!(program.packages.bytes, 57);
}

#[test]
fn an_unreadable_entry_is_a_fault() {
    let fault = measure(Path::new("/nonexistent/main.py"), Path::new("/nonexistent"), None).unwrap_err();
    assert!(fault.to_string().starts_with("/nonexistent/main.py: "), "{fault}");
}
