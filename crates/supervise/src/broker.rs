//! What the broker and its callers say to each other: questions in, answers out, on links of their own.
//!
//! `broker` never starts a worker and never sees a call: calls go from process to process (`protocol/calls.md`).

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, spawn_local};
use wire::{HEADER_LEN, Kind};

use crate::interpreter::Language;
use crate::spec::ServiceSpec;

/// Longest payload of a RESOLVE: two paths of the longest that Linux knows, and some words.
const RESOLVE_BYTES_MAX: usize = 16 * 1024;
/// Frames that wait for a caller that does not read; one more ends its link.
const FRAMES_MAX: usize = 256;

/// Names a broker link for the life of the broker.
pub(crate) type LinkId = u64;

/// What a caller says.
#[derive(Debug)]
pub(crate) enum Said {
    Resolve(Resolve),
    /// Its link is over; the text says what it did wrong, if anything.
    Gone(Option<String>),
}

/// The payload of RESOLVE.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Resolve {
    pub id: u32,
    pub language: CallLanguage,
    #[serde(default)]
    pub file: Option<PathBuf>,
    #[serde(default)]
    pub module: Option<String>,
    #[serde(default)]
    pub service: Option<String>,
}

impl Resolve {
    pub fn file(language: Language, file: &Path) -> Resolve {
        let language = match language {
            Language::Node => CallLanguage::Node,
            Language::Python => CallLanguage::Python,
        };
        Resolve { id: 0, language, file: Some(file.to_path_buf()), module: None, service: None }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum CallLanguage {
    Node,
    Python,
}

impl CallLanguage {
    pub fn language(self) -> Language {
        match self {
            CallLanguage::Node => Language::Node,
            CallLanguage::Python => Language::Python,
        }
    }
}

/// A worker that takes calls, as callers see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Peer {
    pub worker: String,
    pub path: PathBuf,
}

/// Why there is no answer; becomes a `CallError` in the caller.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Refusal {
    pub code: &'static str,
    pub message: String,
    pub hint: String,
}

impl Refusal {
    pub fn not_found(message: String, hint: &str) -> Refusal {
        Refusal { code: "BIREME_NOT_FOUND", message, hint: hint.to_owned() }
    }

    pub fn unavailable(message: String, hint: String) -> Refusal {
        Refusal { code: "BIREME_UNAVAILABLE", message, hint }
    }

    pub fn busy(message: String) -> Refusal {
        Refusal { code: "BIREME_SERVICE_BUSY", message, hint: String::new() }
    }
}

/// The service that answers. Of several that hold the file, the one whose folder is closest to it; of several that are as
/// close, the first by name.
pub(crate) fn choose<'s>(
    question: &Resolve,
    services: impl Iterator<Item = &'s ServiceSpec> + Clone,
) -> Result<Arc<str>, Refusal> {
    let language = question.language.language();
    let speaks = |spec: &&ServiceSpec| spec.worker.interpreter.language == language;
    if let Some(name) = &question.service {
        let named = services.clone().find(|spec| *spec.name == **name);
        return match named {
            Some(spec) if speaks(&spec) => Ok(spec.name.clone()),
            Some(spec) => {
                let other = spec.worker.interpreter.language.as_str();
                Err(Refusal::not_found(format!("service {name} runs {other}, not {}", language.as_str()), ""))
            }
            None => Err(Refusal::not_found(format!("there is no service {name}"), "name one of bireme.toml")),
        };
    }
    let mut own = services.clone().filter(speaks).filter(|spec| !spec.implicit);
    let chosen = match (&question.file, &question.module) {
        (Some(file), None) => {
            let file = file.canonicalize().unwrap_or_else(|_| file.clone());
            own.filter_map(|spec| Some((spec.closeness(&file)?, spec)))
                .reduce(|best, next| if next.0 > best.0 { next } else { best })
                .map(|(_, spec)| spec)
        }
        (None, Some(_)) => own.next().filter(|_| own.next().is_none()),
        _ => return Err(Refusal::not_found("RESOLVE names neither a file nor a module, or both".to_owned(), "")),
    };
    chosen
        .or_else(|| services.filter(speaks).find(|spec| spec.implicit))
        .map(|spec| spec.name.clone())
        .ok_or_else(|| Refusal::unavailable(format!("nothing here runs {}", language.as_str()), String::new()))
}

/// The services that a changed file is about: those that hold it most closely and speak its language, where its name
/// tells that; the implicit one for code that belongs to no other.
pub(crate) fn holders<'s>(file: &Path, services: impl Iterator<Item = &'s ServiceSpec> + Clone) -> Vec<Arc<str>> {
    let language = match file.extension().and_then(|end| end.to_str()) {
        Some("py") => Some(Language::Python),
        Some("js" | "mjs" | "cjs" | "jsx" | "ts" | "mts" | "cts" | "tsx") => Some(Language::Node),
        _ => None,
    };
    let file = file.canonicalize().unwrap_or_else(|_| file.to_path_buf());
    let speaks = |spec: &&ServiceSpec| language.is_none_or(|language| spec.worker.interpreter.language == language);
    let own = services.clone().filter(speaks).filter_map(|spec| Some((spec.closeness(&file)?, spec.name.clone())));
    let own: Vec<(usize, Arc<str>)> = own.collect();
    let closest = own.iter().map(|(closeness, _)| *closeness).max();
    let holders: Vec<Arc<str>> =
        own.into_iter().filter(|(closeness, _)| Some(*closeness) == closest).map(|(_, name)| name).collect();
    if !holders.is_empty() || language.is_none() {
        return holders;
    }
    services.filter(speaks).filter(|spec| spec.implicit).map(|spec| spec.name.clone()).collect()
}

/// The half of a broker link that tells.
#[derive(Debug)]
pub(crate) struct Link {
    frames: mpsc::Sender<Vec<u8>>,
    reader: AbortHandle,
}

impl Link {
    /// Takes the link over: what the caller says arrives at `said`, and [`Said::Gone`] last.
    pub fn open(stream: UnixStream, id: LinkId, said: mpsc::Sender<(LinkId, Said)>) -> Link {
        let (read, write) = stream.into_split();
        let (frames, outgoing) = mpsc::channel(FRAMES_MAX);
        spawn_local(tell(write, outgoing));
        let reader = spawn_local(async move {
            let why = listen(read, id, &said).await;
            // The receiver is gone when the supervisor ends; so are all callers' questions then.
            let _ = said.send((id, Said::Gone(why))).await;
        });
        Link { frames, reader: reader.abort_handle() }
    }

    /// False when the caller does not read what it is sent.
    #[must_use]
    pub fn send(&self, kind: Kind, payload: &impl Serialize) -> bool {
        let Ok(payload) = serde_json::to_vec(payload) else { return false };
        let mut frame = Vec::with_capacity(HEADER_LEN + payload.len());
        wire::put_frame(&mut frame, kind, 0, 0, 0, &payload);
        self.frames.try_send(frame).is_ok()
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

async fn tell(mut write: OwnedWriteHalf, mut outgoing: mpsc::Receiver<Vec<u8>>) {
    while let Some(frame) = outgoing.recv().await {
        // The reading half hears that the link is over.
        if write.write_all(&frame).await.is_err() {
            return;
        }
    }
}

/// Ends with the link; says what the caller did wrong.
async fn listen(mut read: OwnedReadHalf, id: LinkId, said: &mpsc::Sender<(LinkId, Said)>) -> Option<String> {
    let mut buffer = Vec::with_capacity(1024);
    loop {
        loop {
            let (resolve, length) = match wire::decode_frame(&buffer) {
                Ok(None) => break,
                Ok(Some(frame)) if frame.kind == Kind::Resolve && frame.stream == 0 => {
                    match serde_json::from_slice(frame.payload) {
                        Ok(resolve) => (resolve, frame.encoded_len()),
                        Err(error) => return Some(format!("RESOLVE cannot be read: {error}")),
                    }
                }
                Ok(Some(frame)) => return Some(format!("{:?} on stream {} of a broker link", frame.kind, frame.stream)),
                Err(error) => return Some(error.to_string()),
            };
            // A full channel makes a talkative caller wait.
            if said.send((id, Said::Resolve(resolve))).await.is_err() {
                return None;
            }
            buffer.drain(..length);
        }
        if buffer.len() > HEADER_LEN + RESOLVE_BYTES_MAX {
            return Some(format!("a question of more than {RESOLVE_BYTES_MAX} bytes"));
        }
        match read.read_buf(&mut buffer).await {
            Ok(1..) => {}
            Ok(0) | Err(_) => return None,
        }
    }
}

/// Where a worker accepts call links.
pub(crate) fn calls_socket(link_socket: &Path, worker: link::WorkerId) -> PathBuf {
    link_socket.with_file_name(format!("calls-{worker}.sock"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::tests::spec;

    fn check(question: serde_json::Value, expected: Result<&str, &str>) {
        let specs = [
            spec("admin", Language::Python, &["/app"], false),
            spec("ml", Language::Python, &["/app", "/app/ml"], false),
            spec("node", Language::Node, &[], true),
            spec("python", Language::Python, &[], true),
            spec("web", Language::Node, &["/app/web"], false),
        ];
        let question: Resolve = serde_json::from_value(question).unwrap();
        match (choose(&question, specs.iter()), expected) {
            (Ok(name), Ok(expected)) => assert_eq!(&*name, expected),
            (Err(refusal), Err(text)) => assert!(refusal.message.contains(text), "{refusal:?}"),
            (got, _) => panic!("{got:?} instead of {expected:?}"),
        }
    }

    #[test]
    fn the_closest_folder_wins() {
        let file = |language: &str, file: &str| serde_json::json!({ "id": 1, "language": language, "file": file });
        check(file("python", "/app/ml/model.py"), Ok("ml"));
        check(file("python", "/app/tools.py"), Ok("admin"));
        check(file("python", "/application/tools.py"), Ok("python"));
        check(file("python", "/elsewhere/x.py"), Ok("python"));
        check(file("node", "/app/web/page.js"), Ok("web"));
        check(file("node", "/app/page.js"), Ok("node"));
    }

    #[test]
    fn a_changed_file_is_about_the_closest_services_of_its_language() {
        let specs = [
            spec("admin", Language::Python, &["/app"], false),
            spec("api", Language::Python, &["/app"], false),
            spec("ml", Language::Python, &["/app", "/app/ml"], false),
            spec("node", Language::Node, &[], true),
            spec("web", Language::Node, &["/app/web"], false),
        ];
        let of = |file: &str| holders(Path::new(file), specs.iter()).iter().map(|name| name.to_string()).collect::<Vec<_>>();
        assert_eq!(of("/app/ml/model.py"), ["ml"]);
        assert_eq!(of("/app/tools.py"), ["admin", "api", "ml"]);
        assert_eq!(of("/app/web/page.html"), ["web"]);
        assert_eq!(of("/app/web/page.py"), ["admin", "api", "ml"]);
        assert_eq!(of("/app/page.mjs"), ["node"]);
        assert!(of("/elsewhere/data.json").is_empty() && of("/elsewhere/a.py").is_empty());
    }

    #[test]
    fn modules_belong_to_the_only_service() {
        let module = |language: &str| serde_json::json!({ "id": 1, "language": language, "module": "m" });
        check(module("python"), Ok("python"));
        check(module("node"), Ok("web"));
    }

    #[test]
    fn a_service_can_be_named() {
        let named = |name: &str| serde_json::json!({ "id": 1, "language": "python", "module": "m", "service": name });
        check(named("ml"), Ok("ml"));
        check(named("web"), Err("runs node, not python"));
        check(named("nothing"), Err("there is no service nothing"));
        check(serde_json::json!({ "id": 1, "language": "python" }), Err("neither a file nor a module"));
    }
}
