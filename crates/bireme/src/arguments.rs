//! The command line.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::commands::compare::arguments::CompareArguments;

const ABOUT: &str = "Serves Node.js and Python applications, unmodified and together, behind one fast front.";

const EXAMPLES: &str = "\
Examples:
  bireme serve ./server.js        a Node application, all defaults
  bireme serve main:app           an ASGI or WSGI application
  bireme serve                    what bireme.toml in this folder says";

const SERVE_EXAMPLES: &str = "\
Examples:
  bireme serve ./server.js
  bireme serve main:app --listen 0.0.0.0:80 --workers 4
  bireme serve web=./server.js ml=app:app --route '/api/*=ml' --route '/*=web'
  bireme serve ./server.js -- --an-argument-of-the-app
  bireme serve --config production.toml --set timeouts.response=5m

An application is a Node program or folder (./server.js, web/), or a Python module and attribute
(main:app, main.py). Each may be given a name (ml=main:app). Without any, bireme.toml in this
folder says what to serve.

Signals: SIGINT and SIGTERM drain and stop, a second one stops at once; SIGHUP reloads.";

const DEV_NOTES: &str = "\
Everything is as under bireme serve, but for this: a changed file gives its service new workers, which take
over when they are ready; what fails to start is said, and the old workers serve on. Error pages show the
stack. There is one front thread and one worker a service unless told otherwise.";

const RUN_EXAMPLES: &str = "\
Examples:
  bireme run train.py --epochs 3       train.py may call JavaScript: bireme.node(\"./chart.js\")
  bireme run report.mjs                report.mjs may import './model.py'

The program has this terminal, its arguments and its exit status, as under node or python itself.
Workers for what it calls are started at the first call and end with it.";

const CALL_EXAMPLES: &str = "\
Examples:
  bireme call ./model.py:predict '[1,2,3]' --kwargs '{\"top\":3}'
  bireme call ./render.mjs:page '{\"title\":\"Hello\"}'
  bireme call numpy:linalg.norm '[3,4]'
  bireme call --language node node:os:cpus

The first argument of predict is the list [1,2,3]; further arguments follow it. Results are printed on
stdout, a stream's items each on a line of its own; errors, and what the function prints, on stderr.

Exit status: 0 it returned, 1 it raised, 2 wrong usage, 3 not found, 4 a value cannot cross,
5 no worker answered, 124 too late, 130 interrupted.";

#[derive(Debug, Parser)]
#[command(name = "bireme", version, about = ABOUT, after_help = EXAMPLES, max_term_width = 100, arg_required_else_help = true)]
pub struct Arguments {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve applications until told to stop
    #[command(after_help = SERVE_EXAMPLES)]
    Serve(ServeArguments),
    /// Serve for development: take up each change, show errors in the browser, keep types fresh
    #[command(after_help = DEV_NOTES)]
    Dev(ServeArguments),
    /// Run a program that calls functions of the other language
    #[command(after_help = RUN_EXAMPLES)]
    Run(RunArguments),
    /// Call a function of either language and print its result as JSON
    #[command(after_help = CALL_EXAMPLES)]
    Call(CallArguments),
    /// Write what TypeScript has to know of Python files, and Python's type checkers of JavaScript
    Types(TypesArguments),
    /// Say everything that is wrong with a configuration, without serving
    Check(ServeArguments),
    /// Start new workers by the current code and configuration, and retire the old ones when the new are ready
    Reload(ReloadArguments),
    /// Show what a running server is doing
    Status(StatusArguments),
    /// Measure two sides against each other: Node or Python, on your own code
    Compare(Box<CompareArguments>),
    /// Print the configuration or its schema
    Config(ConfigArguments),
    /// Show what Bireme finds on this machine: interpreters, folders, limits
    Doctor(ServeArguments),
    /// Start workers for the calls of other programs; for programs, which learn how to reach it from a line of JSON
    #[command(hide = true)]
    Broker(BrokerArguments),
}

#[derive(Clone, Debug, Default, Args)]
pub struct ServeArguments {
    /// Applications to serve: [NAME=]PATH or [NAME=]MODULE[:ATTRIBUTE]
    #[arg(value_name = "APPLICATION")]
    pub targets: Vec<String>,

    /// Arguments for the application, after --
    #[arg(last = true, value_name = "ARGUMENT")]
    pub args: Vec<String>,

    /// The configuration file [environment: BIREME_CONFIG] [default: bireme.toml, unless applications are named]
    #[arg(short, long, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// Listen here: HOST:PORT, :PORT or unix:PATH; may be repeated [default: 127.0.0.1:8000]
    #[arg(short, long, value_name = "ADDRESS")]
    pub listen: Vec<String>,

    /// Worker processes for each application [default: one a core]
    #[arg(short, long, value_name = "N")]
    pub workers: Option<String>,

    /// Front threads [default: one a core, at most 4]
    #[arg(long, value_name = "N")]
    pub threads: Option<String>,

    /// Send requests somewhere: PATTERN=SERVICE or PATTERN=static:FOLDER; may be repeated, the first match wins
    #[arg(short, long, value_name = "ROUTE")]
    pub route: Vec<String>,

    /// PEM file with the certificate and its chain; several with commas, chosen by the name the client asks for
    #[arg(long, value_name = "FILE")]
    pub tls_cert: Option<String>,

    /// PEM file with the certificate's private key; as many as certificates
    #[arg(long, value_name = "FILE")]
    pub tls_key: Option<String>,

    /// Look of the log on stderr: text or json [default: text]
    #[arg(long, value_name = "FORMAT")]
    pub log_format: Option<String>,

    /// Least severity to log: error, warn, info, debug or trace [default: info]
    #[arg(long, value_name = "LEVEL")]
    pub log_level: Option<String>,

    /// Write an access log: text, json or combined [default: off]
    #[arg(long, value_name = "FORMAT")]
    pub access_log: Option<String>,

    /// Append the access log to this file [default: standard output]
    #[arg(long, value_name = "FILE")]
    pub access_log_path: Option<String>,

    /// Folder for Bireme's own sockets
    #[arg(long, value_name = "FOLDER")]
    pub runtime_dir: Option<String>,

    /// Set any key of the configuration, such as timeouts.response=5m; may be repeated
    #[arg(short, long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
}

/// Which configuration holds, for commands that serve nothing.
#[derive(Clone, Debug, Default, Args)]
pub struct ProjectArguments {
    /// The configuration file [environment: BIREME_CONFIG] [default: bireme.toml, if there is one]
    #[arg(short, long, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// Set any key of the configuration, such as calls.timeout=5m; may be repeated
    #[arg(short, long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
}

#[derive(Debug, Args)]
pub struct RunArguments {
    #[command(flatten)]
    pub project: ProjectArguments,

    /// The program: .js, .mjs, .cjs, .ts, .mts, .cts or .py
    #[arg(value_name = "SCRIPT")]
    pub script: PathBuf,

    /// Its arguments
    #[arg(value_name = "ARGUMENT", trailing_var_arg = true, allow_hyphen_values = true)]
    pub args: Vec<OsString>,
}

#[derive(Debug, Args)]
pub struct CallArguments {
    #[command(flatten)]
    pub project: ProjectArguments,

    /// Its keyword arguments: a JSON object; - reads it from stdin
    #[arg(short, long, value_name = "JSON")]
    pub kwargs: Option<String>,

    /// Longest time it may take, such as 500ms or 5m, or off [default: calls.timeout, 30s]
    #[arg(short, long, value_name = "TIME")]
    pub timeout: Option<String>,

    /// Whose function it is, where its file's name does not say that [default for modules: python]
    #[arg(short, long, value_name = "LANGUAGE")]
    pub language: Option<CalledLanguage>,

    /// The service that runs it [default: the one to whose folder the file belongs]
    #[arg(long, value_name = "NAME")]
    pub service: Option<String>,

    /// The function: FILE:NAME, MODULE:NAME, or a JavaScript FILE for its default export
    #[arg(value_name = "FUNCTION")]
    pub function: String,

    /// Its arguments, each of them JSON
    #[arg(value_name = "JSON", allow_negative_numbers = true)]
    pub args: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum CalledLanguage {
    Node,
    Python,
}

#[derive(Debug, Args)]
pub struct TypesArguments {
    #[command(flatten)]
    pub project: ProjectArguments,

    /// Write nothing; fail when something is stale
    #[arg(long)]
    pub check: bool,

    /// Folder for all that is written [default: beside the files, and typings/ for stubs]
    #[arg(long, value_name = "FOLDER")]
    pub out: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct BrokerArguments {
    #[command(flatten)]
    pub project: ProjectArguments,

    /// Say on stdout, as a line of JSON, how to be reached; end when stdin does
    #[arg(long, required = true)]
    pub stdio: bool,
}

/// Which running server is meant.
#[derive(Clone, Debug, Default, Args)]
pub struct ServerArguments {
    /// The server with this process id
    #[arg(long, value_name = "PID")]
    pub pid: Option<u32>,

    /// The server that was started with this configuration file
    #[arg(short, long, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// The server that listens here
    #[arg(short, long, value_name = "ADDRESS")]
    pub listen: Option<String>,

    /// Folder for Bireme's own sockets, if it was set for the server
    #[arg(long, value_name = "FOLDER")]
    pub runtime_dir: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct ReloadArguments {
    #[command(flatten)]
    pub server: ServerArguments,
}

#[derive(Debug, Args)]
pub struct StatusArguments {
    #[command(flatten)]
    pub server: ServerArguments,

    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
#[command(arg_required_else_help = true)]
pub struct ConfigArguments {
    #[command(subcommand)]
    pub what: ConfigCommand,
}

#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Print every setting that holds, and where it came from
    Show(Box<ServeArguments>),
    /// Print the JSON schema of bireme.toml, for editors
    Schema,
}
