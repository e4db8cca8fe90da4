//! The project's chores: build, demo, test, bench, tidy. Run as `cargo xtask <chore>`.
//!
//! `xtask` knows how the parts are built and prepared; it never serves a request or measures anything itself.

mod article;
mod bench;
mod demo;
mod package;
mod places;
mod prepare;
mod steps;
mod suites;
mod tidy;
mod tools;
mod workloads;

use std::process::ExitCode;

use places::Places;

const USAGE: &str = "\
Bireme's chores

Usage: cargo xtask <CHORE> [OPTIONS]

Chores:
  build                   Build target/release/bireme and its runtime folder, ready to run from anywhere
  demo [--listen ADDR]    Build, prepare and serve examples/digits
  test [SUITE…] [ARGS…]   Run every suite, or the named ones: rust, tidy, fuzz, node, python, e2e
                          Arguments after the suites go to a single suite's runner:
                          cargo xtask test e2e -k reload
  conformance             Run all 517 WebSocket cases of Autobahn against every kind of endpoint; takes minutes
  bench [ARGS…]           Measure Bireme against its peers; writes bench/results/ (see bench --help)
  article [ARGS…]         Measure the suite (two hours) and write what docs/node-vs-python.md rests on from that;
                          --from COMPARE.JSON takes an earlier run
  tidy                    Check the crates' dependency directions, the rule about unsafe code, format and lints
  prepare                 Only install what demo and test need

Environment:
  XTASK_FUZZ_SECONDS      Length of the fuzz run, in seconds (default 60)
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run(&arguments) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[String]) -> anyhow::Result<ExitCode> {
    let (chore, rest) = match arguments.split_first() {
        Some((chore, rest)) => (chore.as_str(), rest),
        None => ("help", arguments),
    };
    if matches!(chore, "help" | "--help" | "-h") {
        print!("{USAGE}");
        return Ok(ExitCode::SUCCESS);
    }
    let places = Places::find()?;
    match chore {
        "build" => package::build(&places).map(|_| ExitCode::SUCCESS),
        "demo" => demo::run(&places, rest),
        "test" => suites::run(&places, rest),
        "conformance" => suites::conformance(&places),
        "article" => article::run(&places, rest),
        "bench" => bench::run(&places, rest),
        "tidy" => tidy::check(&places).map(|_| ExitCode::SUCCESS),
        "prepare" => suites::prepare_all(&places).map(|_| ExitCode::SUCCESS),
        other => anyhow::bail!("unknown chore \"{other}\"; `cargo xtask help` lists them"),
    }
}
