//! How `bireme reload` and `bireme status` reach a running server: a Unix socket in its private folder, one JSON object
//! each way, each on a line of its own.
//!
//! The folder is open to its owner alone, and so is everything that can be asked here.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use config::Listen;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use supervise::RunDirectory;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixListener;
use tokio::sync::{mpsc, oneshot};

use crate::Stop;
use crate::arguments::{ServeArguments, ServerArguments};
use crate::load;

const SOCKET: &str = "control.sock";
/// Requests are small; what is longer is not one.
const REQUEST_BYTES_MAX: u64 = 4096;
/// Answers list every worker; this is room for tens of thousands.
const ANSWER_BYTES_MAX: u64 = 16 << 20;
/// From the connection until its request is there.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
/// Requests that wait for the server, which answers them one after the other.
const REQUESTS_MAX: usize = 16;
/// Longest wait for a server that is asked how it is.
const STATUS_TIMEOUT: Duration = Duration::from_secs(5);

/// What can be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "command")]
pub enum Request {
    /// A [`Status`].
    Status,
    /// Start new workers by the current code and configuration; answered when they serve.
    Reload,
}

/// What a server says about itself.
#[derive(Debug, Serialize)]
pub struct Status {
    /// Its process id.
    pub pid: u32,
    /// Of `bireme`.
    pub version: &'static str,
    /// Time since it started.
    pub uptime_ms: u64,
    /// The configuration file.
    pub config: Option<PathBuf>,
    /// Where it listens: `http://127.0.0.1:8000`, `unix:/run/x.sock`.
    pub listen: Vec<String>,
    /// Client connections open now.
    pub connections: usize,
    /// Its services and their workers.
    pub services: Vec<supervise::ServiceStatus>,
    /// What copies of requests say of candidates.
    pub shadows: Vec<compare::document::Comparison>,
}

/// A request on its way to the server's main task, and where the answer goes.
pub type Asked = (Request, oneshot::Sender<Result<Value, String>>);

/// Opens the socket and hands what arrives to the receiver.
pub fn listen(folder: &Path) -> io::Result<mpsc::Receiver<Asked>> {
    let path = folder.join(SOCKET);
    let listener = UnixListener::bind(&path)?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
    let (asked, inbox) = mpsc::channel(REQUESTS_MAX);
    tokio::spawn(async move {
        loop {
            match listener.accept().await {
                Ok((stream, _)) => {
                    let asked = asked.clone();
                    tokio::spawn(async move {
                        if let Err(error) = answer(stream, asked).await {
                            tracing::debug!(%error, "a request at the control socket came to nothing");
                        }
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "the control socket cannot accept; trying again");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    });
    Ok(inbox)
}

async fn answer(stream: tokio::net::UnixStream, asked: mpsc::Sender<Asked>) -> io::Result<()> {
    let (read, mut write) = stream.into_split();
    let mut line = String::new();
    let mut read = tokio::io::BufReader::new(read.take(REQUEST_BYTES_MAX));
    tokio::time::timeout(REQUEST_TIMEOUT, read.read_line(&mut line)).await??;
    let result = match serde_json::from_str(&line) {
        Ok(request) => {
            let (reply, answer) = oneshot::channel();
            let stopping = || Err("the server is stopping".to_owned());
            match asked.send((request, reply)).await {
                Ok(()) => answer.await.unwrap_or_else(|_| stopping()),
                Err(_) => stopping(),
            }
        }
        Err(error) => Err(format!("this server does not understand the request ({error}); is it of another version?")),
    };
    let answer = match result {
        Ok(value) => serde_json::json!({ "ok": value }),
        Err(error) => serde_json::json!({ "error": error }),
    };
    write.write_all(format!("{answer}\n").as_bytes()).await
}

/// A running server, as a command sees it.
#[derive(Debug)]
pub struct Server {
    folder: PathBuf,
    /// What it said when it was found.
    pub status: Value,
}

impl Server {
    /// Finds the one that is meant: the only one, unless the arguments say which.
    pub fn find(arguments: &ServerArguments) -> Result<Server, Stop> {
        let wanted = Wanted::new(arguments)?;
        let base = base(arguments);
        let folders = RunDirectory::running(base.as_deref());
        let mut servers: Vec<Server> = folders.into_iter().filter_map(|folder| Server::at(folder).ok()).collect();
        let running = servers.iter().map(Server::describe).collect::<Vec<_>>().join("\n");
        servers.retain(|server| wanted.is(&server.status));
        if servers.len() > 1 && wanted.is_open() {
            servers = here(servers);
        }
        match (servers.pop(), servers.is_empty(), running.is_empty()) {
            (Some(server), true, _) => Ok(server),
            (_, _, true) => Err(Stop::Failed(
                "no server of yours is running; if one was started with a runtime_dir of its own, name it by --runtime-dir"
                    .to_owned(),
            )),
            (None, _, _) => Err(Stop::Failed(format!("no running server is meant by this; there are:\n{running}"))),
            (Some(_), ..) => {
                Err(Stop::Failed(format!("several servers are running; say which by --pid, --config or --listen:\n{running}")))
            }
        }
    }

    fn at(folder: PathBuf) -> Result<Server, Stop> {
        let status = ask(&folder, Request::Status, Some(STATUS_TIMEOUT))?;
        Ok(Server { folder, status })
    }

    /// Asks, and waits as long as it takes.
    pub fn ask(&self, request: Request) -> Result<Value, Stop> {
        ask(&self.folder, request, None)
    }

    /// One line to tell it from others.
    pub fn describe(&self) -> String {
        let config = self.status["config"].as_str().map(|config| format!(", by {config}")).unwrap_or_default();
        format!("  process {} at {}{config}", self.status["pid"], texts(&self.status["listen"]).join(" "))
    }
}

struct Wanted {
    pid: Option<u32>,
    config: Option<PathBuf>,
    listen: Option<String>,
}

impl Wanted {
    fn new(arguments: &ServerArguments) -> Result<Wanted, Stop> {
        let config = arguments.config.as_deref().map(std::path::absolute).transpose();
        let config = config.map_err(|error| Stop::Usage(format!("--config: {error}")))?;
        Ok(Wanted {
            pid: arguments.pid,
            config: config.map(|path| path.components().collect()),
            listen: arguments.listen.as_deref().map(address).transpose()?,
        })
    }

    /// Whether it leaves the choice to us.
    fn is_open(&self) -> bool {
        self.pid.is_none() && self.config.is_none() && self.listen.is_none()
    }

    fn is(&self, status: &Value) -> bool {
        let same = |wanted: Option<&str>, found: &Value| wanted.is_none_or(|wanted| found.as_str() == Some(wanted));
        let listens = |wanted: &str| {
            texts(&status["listen"]).iter().any(|address| address.split("://").last() == Some(wanted) || *address == wanted)
        };
        self.pid.is_none_or(|pid| status["pid"] == pid)
            && same(self.config.as_deref().and_then(Path::to_str), &status["config"])
            && self.listen.as_deref().is_none_or(listens)
    }
}

/// An address as `serve` takes it, or copied from what `serve` or `status` print, as [`Status`] has it but for the scheme.
fn address(text: &str) -> Result<String, Stop> {
    let usage = |error: String| Stop::Usage(format!("--listen: {error}"));
    let folder = std::env::current_dir().map_err(|error| usage(error.to_string()))?;
    let text = text.trim_start_matches("https://").trim_start_matches("http://").trim_end_matches('/');
    Ok(match config::parse_listen(text, &folder).map_err(usage)? {
        Listen::Tcp(address) => address.to_string(),
        unix => url(&unix, false),
    })
}

/// Of several servers, the one that the current folder's file configures, if there is one.
fn here(servers: Vec<Server>) -> Vec<Server> {
    let Ok(file) = std::path::absolute(load::FILE_NAME) else { return servers };
    let (ours, others): (Vec<_>, Vec<_>) =
        servers.into_iter().partition(|server| server.status["config"].as_str().map(Path::new) == Some(&*file));
    if ours.is_empty() { others } else { ours }
}

/// Where servers keep their folders: as told, or as the configuration says, or by default.
fn base(arguments: &ServerArguments) -> Option<PathBuf> {
    let configured = || {
        let arguments = ServeArguments { config: arguments.config.clone(), ..ServeArguments::default() };
        // A configuration with mistakes is no reason not to ask the server that runs.
        load::settings(&arguments).ok().and_then(|resolved| resolved.settings.runtime_dir)
    };
    let variable = || std::env::var_os("BIREME_RUNTIME_DIR").filter(|value| !value.is_empty()).map(PathBuf::from);
    arguments.runtime_dir.clone().or_else(variable).or_else(configured)
}

fn ask(folder: &Path, request: Request, timeout: Option<Duration>) -> Result<Value, Stop> {
    let failed = |error: io::Error| Stop::Failed(format!("the server at {} does not answer: {error}", folder.display()));
    let exchange = || -> io::Result<Vec<u8>> {
        let mut stream = UnixStream::connect(folder.join(SOCKET))?;
        stream.set_read_timeout(timeout)?;
        stream.set_write_timeout(Some(STATUS_TIMEOUT))?;
        stream.write_all(serde_json::to_string(&request)?.as_bytes())?;
        stream.write_all(b"\n")?;
        let mut line = Vec::new();
        BufReader::new(stream.take(ANSWER_BYTES_MAX)).read_until(b'\n', &mut line)?;
        Ok(line)
    };
    let line = exchange().map_err(failed)?;
    let mut answer: Value = serde_json::from_slice(&line).map_err(|error| failed(error.into()))?;
    if let Some(error) = answer["error"].as_str() {
        return Err(Stop::Failed(error.to_owned()));
    }
    match answer.get_mut("ok") {
        Some(ok) => Ok(ok.take()),
        None => Err(failed(io::Error::other("what it says is no answer; is it of another version?"))),
    }
}

/// A server's address as people open it.
pub fn url(listen: &Listen, tls: bool) -> String {
    match listen {
        Listen::Tcp(address) => format!("{}://{address}", if tls { "https" } else { "http" }),
        Listen::Unix(path) => format!("unix:{}", path.display()),
    }
}

fn texts(list: &Value) -> Vec<&str> {
    list.as_array().map(|list| list.iter().filter_map(Value::as_str).collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;

    #[test]
    fn what_is_no_answer_is_said() {
        let folder = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(folder.path().join(SOCKET)).unwrap();
        for (said, expected) in
            [("[]", "is no answer"), ("{}", "is no answer"), ("", "does not answer"), ("{\"error\": \"busy\"}", "busy")]
        {
            let listener = listener.try_clone().unwrap();
            let server = std::thread::spawn(move || {
                let (mut stream, _) = listener.accept().unwrap();
                BufReader::new(&stream).read_line(&mut String::new()).unwrap();
                stream.write_all(said.as_bytes()).unwrap();
            });
            let error = ask(folder.path(), Request::Status, Some(STATUS_TIMEOUT)).unwrap_err();
            assert!(error.text().contains(expected), "{}", error.text());
            server.join().unwrap();
        }
    }
}
