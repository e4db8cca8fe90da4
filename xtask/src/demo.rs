//! `cargo xtask demo`: examples/digits, from a fresh clone to an address in the browser.

use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use anyhow::Context;

use crate::places::Places;
use crate::prepare;
use crate::steps::say;
use crate::{package, tools};

const DEFAULT_ADDRESS: &str = "127.0.0.1:8000";

/// Builds, prepares, then becomes `bireme serve`, so that Ctrl-C reaches the server alone.
pub fn run(places: &Places, arguments: &[String]) -> anyhow::Result<ExitCode> {
    let address = match arguments {
        [] => DEFAULT_ADDRESS,
        [flag, address] if flag == "--listen" => &chosen(address),
        _ => anyhow::bail!("demo takes one option: --listen HOST:PORT (default {DEFAULT_ADDRESS})"),
    };
    let bireme = package::build(places)?;
    let digits = prepare_digits(places)?;
    say(&format!(
        "
The digits example: Node (Express) serves the page, Python (FastAPI, scikit-learn) reads the digit.
In a few seconds, try:

  1. open http://{address}/ and draw a digit
  2. curl http://{address}/api/health                  Python's answer, through the same port
  3. {} status --listen {address}
     names the workers: kill -9 one, and the page stays, and it comes back

Ctrl-C stops it.
",
        bireme.display()
    ));
    let mut command = Command::new(&bireme);
    command.args(["serve", "--listen", address]).current_dir(digits);
    // exec only returns when it failed.
    Err(command.exec()).with_context(|| format!("could not run {}", bireme.display()))
}

/// The address itself, or with port 0 one that is free, so that what is shown can be opened.
fn chosen(address: &str) -> String {
    let free = || TcpListener::bind(address).and_then(|listener| listener.local_addr());
    match address.ends_with(":0").then(free) {
        Some(Ok(chosen)) => chosen.to_string(),
        // The server says what is wrong with it.
        _ => address.to_owned(),
    }
}

/// Installs the example's packages where Node and Python look for them; returns the example's folder.
pub fn prepare_digits(places: &Places) -> anyhow::Result<std::path::PathBuf> {
    let digits = places.root.join("examples/digits");
    prepare::node_modules(places, "digits-web", &digits.join("web"))?;
    let python = tools::python(places)?;
    let requirements = digits.join("ml/requirements.txt");
    let venv = prepare::venv(places, "digits-ml", &python, &requirements)?;
    prepare::link(&digits.join(".venv"), &venv)?;
    Ok(digits)
}

/// The same for the chat, which needs no npm packages.
pub fn prepare_chat(places: &Places) -> anyhow::Result<()> {
    let chat = places.root.join("examples/chat");
    let venv = prepare::venv(places, "chat-ml", &tools::python(places)?, &chat.join("ml/requirements.txt"))?;
    prepare::link(&chat.join(".venv"), &venv)
}
