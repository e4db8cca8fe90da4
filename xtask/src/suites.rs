//! `cargo xtask test`: every suite of the project, one after the other, and one summary.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use crate::places::{Places, cargo};
use crate::prepare;
use crate::steps::{self, Step, say};
use crate::{demo, package, tidy, tools, workloads};

/// A suite that says nothing gets a line this often, so that a person knows it lives.
const SILENCE: Duration = Duration::from_secs(30);
const FUZZ_SECONDS_DEFAULT: u64 = 60;

/// A suite: its name and how it runs.
struct Suite {
    name: &'static str,
    needs_build: bool,
    run: fn(&Places, &[String]) -> anyhow::Result<Counts>,
}

/// In the order they run: what fails fastest comes first.
const SUITES: [Suite; 6] = [
    Suite { name: "tidy", needs_build: false, run: run_tidy },
    Suite { name: "rust", needs_build: true, run: run_rust },
    Suite { name: "fuzz", needs_build: false, run: run_fuzz },
    Suite { name: "node", needs_build: true, run: run_node },
    Suite { name: "python", needs_build: true, run: run_python },
    Suite { name: "e2e", needs_build: true, run: run_e2e },
];

/// What a suite reported.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counts {
    passed: u64,
    failed: u64,
    skipped: u64,
}

/// Runs the suites that are named, or all. Leading words are suites; what follows goes to the one suite's runner.
pub fn run(places: &Places, arguments: &[String]) -> anyhow::Result<ExitCode> {
    let is_suite = |word: &String| SUITES.iter().any(|suite| suite.name == word.as_str());
    let named = arguments.iter().take_while(|word| is_suite(word)).count();
    let (names, rest) = arguments.split_at(named);
    anyhow::ensure!(
        rest.is_empty() || names.len() == 1,
        "\"{}\" is no suite, and arguments for a runner need exactly one suite before them; suites: {}",
        rest.first().map_or("", String::as_str),
        SUITES.map(|suite| suite.name).join(", ")
    );
    let chosen: Vec<&Suite> =
        SUITES.iter().filter(|suite| names.is_empty() || names.iter().any(|name| name == suite.name)).collect();
    if chosen.iter().any(|suite| suite.needs_build) {
        package::build(places)?;
    }
    let mut results = Vec::new();
    for suite in chosen {
        say(&format!("\n━━ {} ━━", suite.name));
        let start = Instant::now();
        let counts = (suite.run)(places, rest).unwrap_or_else(|error| {
            eprintln!("{}: {error:#}", suite.name);
            Counts { failed: 1, ..Counts::default() }
        });
        results.push((suite.name, counts, start.elapsed()));
    }
    Ok(summarise(&results))
}

/// Installs what every suite needs, and builds nothing of our own.
pub fn prepare_all(places: &Places) -> anyhow::Result<()> {
    demo::prepare_digits(places)?;
    demo::prepare_chat(places)?;
    prepare_e2e(places)?;
    prepare_node(places)?;
    prepare_python(places)?;
    Ok(())
}

/// The WebSocket cases that `test e2e` runs a part of, all of them.
pub fn conformance(places: &Places) -> anyhow::Result<ExitCode> {
    package::build(places)?;
    let start = Instant::now();
    let mut command = e2e(places, &["test_websockets.py".into(), "-k".into(), "autobahn".into()])?;
    command.env("E2E_CONFORMANCE", "all");
    let counts = counted("Autobahn cases by kosoku", &mut command, pytest_counts)?;
    Ok(summarise(&[("conform", counts, start.elapsed())]))
}

fn summarise(results: &[(&str, Counts, Duration)]) -> ExitCode {
    say("\n━━ summary ━━");
    let mut total = Counts::default();
    for (name, counts, took) in results {
        total.passed += counts.passed;
        total.failed += counts.failed;
        total.skipped += counts.skipped;
        say(&format!(
            "{name:<8}{:>6} passed {:>4} failed {:>4} skipped   {}",
            counts.passed,
            counts.failed,
            counts.skipped,
            steps::length(*took)
        ));
    }
    let skipped = if total.skipped > 0 { format!(", {} skipped", total.skipped) } else { String::new() };
    say(&format!("{} passed, {} failed{skipped}", total.passed, total.failed));
    if total.failed == 0 && total.passed > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn run_tidy(places: &Places, _: &[String]) -> anyhow::Result<Counts> {
    tidy::check(places)?;
    Ok(Counts { passed: 1, ..Counts::default() })
}

fn run_rust(places: &Places, arguments: &[String]) -> anyhow::Result<Counts> {
    let mut command = Command::new(cargo());
    command.args(["test", "--workspace", "--no-fail-fast"]).args(arguments).current_dir(&places.root);
    command.env("BIREME_RUNTIME", places.target.join("release/runtime"));
    counted("cargo test", &mut command, cargo_counts)
}

/// Coverage-guided fuzzing of the codec on a stable compiler: LLVM's coverage pass is an ordinary code
/// generation option, and libFuzzer reads the counters it leaves. (cargo-fuzz would ask for a nightly one.)
fn run_fuzz(places: &Places, arguments: &[String]) -> anyhow::Result<Counts> {
    tools::require("c++", "install a C++ compiler, which builds libFuzzer (Debian: apt-get install g++)")?;
    let seconds = match std::env::var("XTASK_FUZZ_SECONDS") {
        Ok(text) => text.parse().map_err(|_| anyhow::anyhow!("XTASK_FUZZ_SECONDS is not a number: {text}"))?,
        Err(_) => FUZZ_SECONDS_DEFAULT,
    };
    const COVERAGE: [&str; 8] = [
        "-Cpasses=sancov-module",
        "-Cllvm-args=-sanitizer-coverage-level=4",
        "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
        "-Cllvm-args=-sanitizer-coverage-pc-table",
        "-Cllvm-args=-sanitizer-coverage-trace-compares",
        "-Ccodegen-units=1",
        "-Cdebug-assertions=yes",
        "-Coverflow-checks=yes",
    ];
    let fuzz = places.root.join("fuzz");
    let target = places.target.join("fuzz");
    let triple = host_triple()?;
    let mut build = Command::new(cargo());
    // With an explicit target, build scripts and macros are left uninstrumented.
    build
        .args(["build", "--release", "--target", &triple])
        .current_dir(&fuzz)
        .env("CARGO_TARGET_DIR", &target)
        .env("CARGO_ENCODED_RUSTFLAGS", COVERAGE.join("\x1f"));
    steps::run_loud("Build the fuzz target", &mut build)?;
    let crashes = target.join("crashes/");
    std::fs::create_dir_all(&crashes)?;
    let mut total = Counts::default();
    for name in FUZZ_TARGETS {
        let counts = run_fuzz_target(&FuzzRun { name, fuzz: &fuzz, target: &target, triple: &triple, seconds }, arguments)?;
        total.passed += counts.passed;
        total.failed += counts.failed;
    }
    Ok(total)
}

/// Codecs that peers write to; each gets its share of the time.
const FUZZ_TARGETS: [&str; 3] = ["frames", "websocket", "values"];

struct FuzzRun<'a> {
    name: &'a str,
    fuzz: &'a Path,
    target: &'a Path,
    triple: &'a str,
    /// For all targets together.
    seconds: u64,
}

fn run_fuzz_target(run: &FuzzRun<'_>, arguments: &[String]) -> anyhow::Result<Counts> {
    let corpus = run.target.join("corpus").join(run.name);
    std::fs::create_dir_all(&corpus)?;
    let crashes = run.target.join("crashes/");
    let seconds = (run.seconds / FUZZ_TARGETS.len() as u64).max(1);
    let mut fuzzer = Command::new(run.target.join(run.triple).join("release").join(run.name));
    fuzzer.arg(&corpus);
    // The seeds are a link's frames.
    if run.name == "frames" {
        fuzzer.arg(run.fuzz.join("seeds"));
    }
    fuzzer
        .arg(format!("-max_total_time={seconds}"))
        .arg(format!("-artifact_prefix={}/", crashes.display()))
        .args(["-max_len=4096", "-timeout=10", "-rss_limit_mb=2048", "-print_final_stats=1"])
        .args(arguments);
    counted(&format!("Fuzz {} for {seconds} s", run.name), &mut fuzzer, fuzz_counts)
}

fn host_triple() -> anyhow::Result<String> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let version = tools::output(Command::new(rustc).arg("-vV"))?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).ok_or_else(|| anyhow::anyhow!("rustc -vV names no host"))
}

fn prepare_node(places: &Places) -> anyhow::Result<()> {
    let folder = places.root.join("node/test");
    if folder.join("package-lock.json").exists() {
        prepare::node_modules(places, "node-test", &folder)?;
    }
    Ok(())
}

fn run_node(places: &Places, arguments: &[String]) -> anyhow::Result<Counts> {
    let (node, _) = tools::node()?;
    prepare_node(places)?;
    let mut files: Vec<PathBuf> = std::fs::read_dir(places.root.join("node/test"))?
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().contains(".test.")))
        .collect();
    files.sort();
    anyhow::ensure!(!files.is_empty(), "node/test holds no *.test.* file");
    let mut command = Command::new(node);
    command.args(["--test", "--test-reporter=spec"]).args(arguments).args(files).current_dir(places.root.join("node"));
    command.env("XTASK_RUNTIME", places.target.join("release/runtime"));
    counted("node --test", &mut command, node_counts)
}

fn prepare_python(places: &Places) -> anyhow::Result<PathBuf> {
    let requirements = places.root.join("python/tests/requirements.txt");
    prepare::venv(places, "python-tests", &tools::python(places)?, &requirements)
}

fn run_python(places: &Places, arguments: &[String]) -> anyhow::Result<Counts> {
    let venv = prepare_python(places)?;
    let mut command = pytest(&venv, &places.root.join("python/tests"), arguments);
    command.env("BIREME_RUNTIME", places.target.join("release/runtime"));
    counted("pytest python/tests", &mut command, pytest_counts)
}

/// What the end-to-end tests run with.
struct EndToEnd {
    tests: PathBuf,
    apps: PathBuf,
    /// `3.12=/path/to/venv`, separated by `:`.
    venvs: String,
}

fn prepare_e2e(places: &Places) -> anyhow::Result<EndToEnd> {
    let folder = places.root.join("tests/e2e");
    tools::debian(places, "chromium", "chromium")?;
    tools::debian(places, "wrk", "wrk")?;
    tools::debian(places, "h2load", "nghttp2-client")?;
    tools::debian(places, "curl", "curl")?;
    demo::prepare_digits(places)?;
    demo::prepare_chat(places)?;
    workloads::prepare(places)?;
    let node_apps = folder.join("apps/node");
    prepare::node_modules(places, "e2e-node", &node_apps)?;
    build_next(places, &node_apps)?;
    prepare::node_modules(places, "e2e-types", &folder.join("apps/types"))?;
    let python = tools::python(places)?;
    let tests = prepare::venv(places, "e2e-tests", &python, &folder.join("requirements.txt"))?;
    let requirements = folder.join("apps/python/requirements.txt");
    let apps = prepare::venv(places, "e2e-python", &python, &requirements)?;
    let mut venvs = Vec::new();
    for (version, interpreter) in tools::other_pythons() {
        let venv = prepare::venv(places, &format!("e2e-python-{version}"), &interpreter, &requirements)?;
        venvs.push(format!("{version}={}", venv.display()));
    }
    Ok(EndToEnd { tests, apps, venvs: venvs.join(":") })
}

/// The production build of the Next application, when its sources have changed.
fn build_next(places: &Places, node_apps: &Path) -> anyhow::Result<()> {
    let next = node_apps.join("next");
    let page = next.join("app/page.jsx");
    let inputs = [
        &node_apps.join("package-lock.json"),
        &page,
        &next.join("app/layout.jsx"),
        &next.join("app/api/route.js"),
        &next.join("app/api/release/route.js"),
        &next.join("app/stream/page.jsx"),
    ];
    let inputs = inputs.map(PathBuf::as_path);
    prepare::built(places, "e2e-next", &inputs, || {
        let (node, _) = tools::node()?;
        let mut command = Command::new(node);
        command
            .arg(node_apps.join("node_modules/next/dist/bin/next"))
            .args(["build", "--webpack"])
            .current_dir(&next)
            .env("NEXT_TELEMETRY_DISABLED", "1");
        let log = places.prepared().join("e2e-next/build.log");
        steps::run_quiet("Production build of the Next application", &mut command, &log)
    })
}

fn run_e2e(places: &Places, arguments: &[String]) -> anyhow::Result<Counts> {
    counted("pytest tests/e2e", &mut e2e(places, arguments)?, pytest_counts)
}

fn e2e(places: &Places, arguments: &[String]) -> anyhow::Result<Command> {
    let prepared = prepare_e2e(places)?;
    let mut command = pytest(&prepared.tests, &places.root.join("tests/e2e"), arguments);
    command
        .env("E2E_BIREME", places.bireme())
        .env("E2E_VENV", prepared.apps)
        .env("E2E_VENVS", prepared.venvs)
        .env("E2E_SCREENSHOTS", places.target.join("screenshots"));
    Ok(command)
}

fn pytest(venv: &Path, folder: &Path, arguments: &[String]) -> Command {
    let mut command = Command::new(venv.join("bin/python"));
    command
        .args(["-u", "-m", "pytest", "-p", "no:cacheprovider", "--color=no", "--durations=10"])
        .args(arguments)
        .current_dir(folder)
        .env("PYTHONDONTWRITEBYTECODE", "1");
    command
}

/// Runs a suite's program, shows its output as it comes, and counts. A suite that ran nothing has failed, and so
/// has one whose program failed without saying of which test.
fn counted(name: &str, command: &mut Command, count: fn(&str, &mut Counts)) -> anyhow::Result<Counts> {
    let step = Step::begin(name);
    let start = Instant::now();
    let mut quiet_since = Instant::now();
    let mut counts = Counts::default();
    let status = steps::each_line(command, SILENCE, |line| match line {
        Some(line) => {
            quiet_since = Instant::now();
            say(line);
            count(line, &mut counts);
        }
        None if quiet_since.elapsed() >= SILENCE => {
            quiet_since = Instant::now();
            say(&format!("  {name}: {}", steps::elapsed(start)));
        }
        None => {}
    })?;
    step.done();
    if counts.failed == 0 && !status.success() {
        eprintln!("{name} failed ({status})");
        counts.failed = 1;
    }
    if counts.failed == 0 && counts.passed == 0 {
        eprintln!("{name} ran no test");
        counts.failed = 1;
    }
    Ok(counts)
}

/// `test result: ok. 5 passed; 0 failed; 1 ignored; …`, once for each test binary.
fn cargo_counts(line: &str, counts: &mut Counts) {
    if let Some(result) = line.strip_prefix("test result: ") {
        let fields = result.split_once(". ").map_or(result, |(_, fields)| fields);
        add_words(fields, ';', &[("ignored", "skipped")], counts);
    }
}

/// `ℹ pass 5`, at the end.
fn node_counts(line: &str, counts: &mut Counts) {
    let mut words = line.trim_start_matches(['ℹ', '#', ' ']).split_whitespace();
    let (Some(what), Some(Ok(number)), None) = (words.next(), words.next().map(str::parse), words.next()) else {
        return;
    };
    match what {
        "pass" => counts.passed = number,
        "fail" | "cancelled" => counts.failed += number,
        "skipped" | "todo" => counts.skipped += number,
        _ => {}
    }
}

/// `==== 5 passed, 1 failed, 2 skipped in 3.21s ====`, at the end.
fn pytest_counts(line: &str, counts: &mut Counts) {
    let text = line.trim_matches(['=', ' ']);
    if let Some((fields, seconds)) = text.rsplit_once(" in ")
        && seconds.split('s').next().is_some_and(|number| number.parse::<f64>().is_ok())
        && fields.starts_with(|c: char| c.is_ascii_digit())
    {
        let others = [("error", "failed"), ("errors", "failed"), ("xfailed", "skipped"), ("xpassed", "failed")];
        add_words(fields, ',', &others, counts);
    }
}

/// libFuzzer says how many inputs it tried when it ends without a finding.
fn fuzz_counts(line: &str, counts: &mut Counts) {
    if let Some(rest) = line.strip_prefix("Done ") {
        let runs = rest.split_whitespace().next().and_then(|n| n.parse::<u64>().ok()).unwrap_or(0);
        // Fewer inputs than this in a minute means that the target did not run at all.
        if runs > 1000 {
            counts.passed = 1;
        }
    }
}

/// Adds fields like `5 passed`; `others` says which further words count as what.
fn add_words(fields: &str, separator: char, others: &[(&str, &str)], counts: &mut Counts) {
    for field in fields.split(separator) {
        let mut words = field.split_whitespace();
        let (Some(Ok(number)), Some(word)) = (words.next().map(str::parse::<u64>), words.next()) else {
            continue;
        };
        let meaning = others.iter().find(|(other, _)| *other == word).map_or(word, |(_, meaning)| meaning);
        match meaning {
            "passed" => counts.passed += number,
            "failed" => counts.failed += number,
            "skipped" => counts.skipped += number,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts_of(count: fn(&str, &mut Counts), lines: &[&str]) -> Counts {
        let mut counts = Counts::default();
        for line in lines {
            count(line, &mut counts);
        }
        counts
    }

    #[test]
    fn every_runner_s_summary_is_understood() {
        let cargo = [
            "test result: ok. 5 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s",
            "test result: FAILED. 2 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s",
        ];
        assert_eq!(counts_of(cargo_counts, &cargo), Counts { passed: 7, failed: 1, skipped: 1 });
        let node = ["ℹ tests 8", "ℹ pass 5", "ℹ fail 2", "ℹ cancelled 1", "ℹ skipped 0", "ℹ todo 0", "pass it on 5"];
        assert_eq!(counts_of(node_counts, &node), Counts { passed: 5, failed: 3, skipped: 0 });
        let pytest = ["==== 1 failed, 5 passed, 2 skipped, 1 error in 3.21s ====", "FAILED 3 passed in spirit"];
        assert_eq!(counts_of(pytest_counts, &pytest), Counts { passed: 5, failed: 2, skipped: 2 });
        let long = ["= 5 passed in 75.21s (0:01:15) ="];
        assert_eq!(counts_of(pytest_counts, &long), Counts { passed: 5, failed: 0, skipped: 0 });
        let fuzz = ["Done 123456 runs in 61 second(s)"];
        assert_eq!(counts_of(fuzz_counts, &fuzz), Counts { passed: 1, failed: 0, skipped: 0 });
        assert_eq!(counts_of(fuzz_counts, &["Done 0 runs in 61 second(s)"]), Counts::default());
    }
}
