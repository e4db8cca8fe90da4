//! `cargo xtask bench`: builds, installs the peers, and hands over to bench/run.py.

use std::process::{Command, ExitCode};

use anyhow::Context;

use crate::places::Places;
use crate::{package, prepare, tools};

/// Programs of Debian that the bench measures with or against, and their packages.
const DEBIAN: [(&str, &str); 3] = [("wrk", "wrk"), ("h2load", "nghttp2-client"), ("nginx", "nginx-light")];

/// Runs the bench; `arguments` are those of bench/run.py.
pub fn run(places: &Places, arguments: &[String]) -> anyhow::Result<ExitCode> {
    let bireme = package::build(places)?;
    let bench = places.root.join("bench");
    let sockets = package::bench_sockets(places)?;
    let modules = prepare::node_modules(places, "bench-node", &bench.join("node"))?;
    let python = tools::python(places)?;
    let venv = prepare::venv(places, "bench-python", &python, &bench.join("python/requirements.txt"))?;
    let mut command = Command::new(venv.join("bin/python"));
    command
        .arg("-u")
        .arg(bench.join("run.py"))
        .arg("--bireme")
        .arg(bireme)
        .arg("--sockets-load")
        .arg(sockets)
        .arg("--node-modules")
        .arg(modules);
    for (program, package) in DEBIAN {
        command.arg(format!("--{program}")).arg(tools::debian(places, program, package)?);
    }
    let status = command.args(arguments).status().context("could not run bench/run.py")?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
