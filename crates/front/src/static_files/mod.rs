//! Files below a folder, as HTTP serves them: RFC 9110 §13 (conditions), §14 (ranges), §12.5.3 (encodings).
//!
//! `static_files` writes nothing to a client: it says what to send. It knows no routes and no connections.
//!
//! Small files that are asked for often stay in the thread's [`Store`], head included, and are compared with
//! the file system once per `revalidate`; a hit costs a hash lookup. Everything else is opened anew. Opening
//! first asks for what the kernel holds in memory (RESOLVE_CACHED, RWF_NOWAIT), which is as fast as a hash
//! lookup of our own; only what would wait for a disk goes to a blocking thread, so that a slow disk holds up
//! nobody else and a fast one costs no change of threads.

mod body;
mod cache;
mod conditional;
mod open;
mod path;
mod range;
mod representation;

pub use body::{BLOCKING_MAX, Body, Reader, Segment, send_file};
pub use open::open_named;

use crate::accept::media_quality;
use crate::date;
use crate::fault::Code;
use bytes::Bytes;
use cache::Cache;
use conditional::{Conditions, Verdict};
use open::{Folder, Patience};
use range::Selection;
use representation::{Codings, Content, Entry, Loaded, Miss, Rules, Search, Wait};
use std::cell::{Cell, RefCell};
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Mutex;

/// The largest file that is compressed on the fly, as a part of the memory for static files: four such still fit.
const COMPRESSED_FILE_PART: u64 = 4;

/// What a client asks for.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// Method, as it came.
    pub method: &'a [u8],
    /// Path as it came, percent-encoded, without the query.
    pub path: &'a [u8],
    /// Query without its question mark.
    pub query: Option<&'a [u8]>,
    /// Header fields.
    pub fields: &'a [(&'a [u8], &'a [u8])],
    /// The present.
    pub now: Instant,
}

/// What to send.
#[derive(Debug)]
pub enum Answer {
    /// A file, part of it, "not modified", or a redirect.
    Response(Response),
    /// No file: the caller makes the page.
    Refusal {
        /// Why.
        code: Code,
        /// Fields that belong to the answer (`allow`, `content-range`).
        fields: Vec<(&'static str, String)>,
    },
}

/// A response without date, connection fields and whatever the caller adds.
#[derive(Debug)]
pub struct Response {
    /// 200, 206, 301 or 304.
    pub status: u16,
    /// Header lines as HTTP/1 has them, each with its line end, names in lower case; `content-length` among
    /// them except for 304.
    pub head: Bytes,
    /// The content; empty for HEAD.
    pub body: Body,
}

impl Response {
    /// The head's fields one by one, for HTTP/2.
    pub fn fields(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.head.split(|&b| b == b'\n').filter_map(|line| {
            let line = line.strip_suffix(b"\r")?;
            let colon = line.iter().position(|&b| b == b':')?;
            Some((&line[..colon], line[colon + 1..].trim_ascii()))
        })
    }
}

/// What the roots of one front thread share.
#[derive(Debug)]
pub struct Store {
    cache: Rc<RefCell<Cache>>,
    file_bytes_max: usize,
    revalidate: Duration,
    roots: Cell<u32>,
    compressed_file_bytes_max: u64,
    encoder: Rc<Mutex<()>>,
}

impl Store {
    /// An empty memory for this thread.
    pub fn new(settings: &config::StaticCache) -> Store {
        Store {
            cache: Rc::new(RefCell::new(Cache::new(settings.bytes_max))),
            file_bytes_max: settings.file_bytes_max,
            revalidate: settings.revalidate,
            roots: Cell::new(0),
            // What has been compressed must have room in memory, or it would be compressed for each request.
            compressed_file_bytes_max: settings.bytes_max as u64 / COMPRESSED_FILE_PART,
            encoder: Rc::default(),
        }
    }

    /// Opens a root; `response_fields` are what its route sets on responses.
    ///
    /// # Errors
    /// When the folder can't be opened; the message names it.
    pub fn root(
        &self,
        settings: &config::Static,
        compression: &config::Compression,
        response_fields: &[(String, String)],
    ) -> io::Result<Root> {
        let folder = Folder::open(&settings.root).map_err(|errno| {
            let error = io::Error::from(errno);
            let path = settings.root.display();
            io::Error::new(error.kind(), format!("cannot open the folder of static files {path}: {error}"))
        })?;
        if let Some(value) = settings.cache_control.as_deref()
            && value.bytes().any(|b| b.is_ascii_control())
        {
            let message = format!("cache_control {value:?} holds a control character; no field's value may");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        let id = self.roots.get();
        self.roots.set(id.wrapping_add(1));
        let random = RandomState::new().hash_one(id);
        Ok(Root {
            rules: Arc::new(Rules {
                settings: settings.clone(),
                boundary: format!("bireme-{random:016x}"),
                file_bytes_max: self.file_bytes_max,
                compression: compression.clone(),
                compressed_file_bytes_max: self.compressed_file_bytes_max,
                response_fields: response_fields.to_vec(),
            }),
            folder: RefCell::new((Arc::new(folder), None)),
            cache: self.cache.clone(),
            revalidate: self.revalidate,
            id: id.to_le_bytes(),
            key: RefCell::new(Vec::new()),
            last_codings: RefCell::new((Vec::new(), Codings::default())),
            encoder: self.encoder.clone(),
        })
    }
}

/// One folder as one thread serves it.
#[derive(Debug)]
pub struct Root {
    rules: Arc<Rules>,
    /// The folder, and when its path was last looked at.
    folder: RefCell<(Arc<Folder>, Option<Instant>)>,
    cache: Rc<RefCell<Cache>>,
    revalidate: Duration,
    id: [u8; 4],
    /// Room for the key of a lookup.
    key: RefCell<Vec<u8>>,
    /// The latest `accept-encoding` and what it means: clients of a kind send the same one.
    last_codings: RefCell<(Vec<u8>, Codings)>,
    /// Held while a file is compressed: by one request of the thread at a time, so that many which ask for the same file have it
    /// compressed once.
    encoder: Rc<Mutex<()>>,
}

impl Root {
    /// Answers without waiting; `None` when a disk or an encoder would have to be waited for: call [`Root::get`] then.
    pub fn get_now(&self, request: &Request<'_>) -> Option<Answer> {
        let lookup = match self.lookup(request) {
            Ok(lookup) => lookup,
            Err(answer) => return Some(answer),
        };
        self.try_now(request, &lookup).ok()
    }

    /// Answers; waits for disks, and compresses, on other threads.
    pub async fn get(&self, request: &Request<'_>) -> Answer {
        let lookup = match self.lookup(request) {
            Ok(lookup) => lookup,
            Err(answer) => return answer,
        };
        let mut turn = None;
        // Ends: only the first turn of the encoder makes it begin again.
        loop {
            let wait = match self.try_now(request, &lookup) {
                Ok(answer) => return answer,
                Err(wait) => wait,
            };
            let result = match wait {
                Wait::Encoder if turn.is_none() => Err(Miss::Wait(wait)),
                _ => self.load_elsewhere(&lookup, turn.is_some()).await,
            };
            match result {
                Ok((loaded, known, fallback)) => {
                    let key = if fallback { self.fallback_key(lookup.codings) } else { self.file_key(&lookup) };
                    return self.settle(request, &lookup, &key, loaded, known);
                }
                Err(Miss::Refused(code)) => return refuse(code),
                // Whoever had the turn before may have compressed this file.
                Err(Miss::Wait(Wait::Encoder)) if turn.is_none() => turn = Some(self.encoder.lock().await),
                // Only a kernel that keeps being unsure about a path that keeps changing.
                Err(Miss::Wait(_)) => return refuse(Code::NotFound),
            }
        }
    }

    /// Looks on a thread that may wait. Also says what was in memory before, and whether the fallback was found.
    async fn load_elsewhere(&self, lookup: &Lookup<'_>, may_compress: bool) -> Result<(Loaded, Option<Rc<Entry>>, bool), Miss> {
        let (folder, known, rules) = (self.folder.borrow().0.clone(), self.known(lookup), self.rules.clone());
        let (path, codings, may_fall_back) = (lookup.path.to_vec(), lookup.codings, lookup.may_fall_back);
        let version = known.as_ref().map(|entry| entry.version);
        let search = Search { codings, known: version, patience: Patience::Disk, may_compress };
        let found = body::blocking(move || match rules.load(&folder, &path, search) {
            Err(Miss::Refused(Code::NotFound)) if may_fall_back => {
                rules.load_fallback(&folder, Search { known: None, ..search }).map(|loaded| (loaded, true))
            }
            result => result.map(|loaded| (loaded, false)),
        })
        .await;
        match found {
            Ok(Ok((loaded, fallback))) => Ok((loaded, known.filter(|_| !fallback), fallback)),
            Ok(Err(miss)) => Err(miss),
            Err(error) => {
                tracing::error!(%error, "a thread that reads static files has failed");
                Err(Miss::Refused(Code::Internal))
            }
        }
    }

    /// Reads the request; the answer at once where no file can be the answer.
    fn lookup<'a>(&self, request: &Request<'a>) -> Result<Lookup<'a>, Answer> {
        let head_only = match request.method {
            b"GET" => false,
            b"HEAD" => true,
            _ => {
                let fields = vec![("allow", "GET, HEAD".to_owned())];
                return Err(Answer::Refusal { code: Code::MethodNotAllowed, fields });
            }
        };
        let settings = &self.rules.settings;
        let path = path::below(request.path, settings.prefix.as_bytes(), settings.dotfiles).map_err(refuse)?;
        let mut lookup = Lookup {
            head_only,
            path,
            codings: Codings::default(),
            may_fall_back: false,
            conditions: Conditions::default(),
            range: None,
        };
        let (mut accept_encoding, mut accept) = (None, None);
        for &(name, value) in request.fields {
            let is = |other: &[u8]| name.eq_ignore_ascii_case(other);
            match name.len() {
                5 if is(b"range") => lookup.range = Some(value),
                6 if is(b"accept") => accept = Some(value),
                8 if is(b"if-match") => lookup.conditions.if_match.push(value),
                8 if is(b"if-range") => lookup.conditions.if_range = Some(value),
                13 if is(b"if-none-match") => lookup.conditions.if_none_match.push(value),
                15 if is(b"accept-encoding") => accept_encoding = Some(value),
                17 if is(b"if-modified-since") => lookup.conditions.if_modified_since = Some(value),
                19 if is(b"if-unmodified-since") => lookup.conditions.if_unmodified_since = Some(value),
                _ => {}
            }
        }
        if settings.precompressed || self.rules.compression.enabled {
            lookup.codings = self.codings(accept_encoding);
        }
        // Ranges, and conditions that compare strongly, are about bytes that stay the same (RFC 9110 §8.8.1).
        if lookup.range.is_some() || !lookup.conditions.if_match.is_empty() {
            lookup.codings = lookup.codings.on_disk_alone();
        }
        lookup.may_fall_back = settings.fallback.is_some() && is_page(&lookup.path, accept);
        Ok(lookup)
    }

    fn codings(&self, field: Option<&[u8]>) -> Codings {
        let Some(field) = field else { return Codings::default() };
        let mut last = self.last_codings.borrow_mut();
        if last.0 != field {
            last.1 = Codings::of(Some(field), &self.rules);
            last.0.clear();
            last.0.extend_from_slice(field);
        }
        last.1
    }

    fn try_now(&self, request: &Request<'_>, lookup: &Lookup<'_>) -> Result<Answer, Wait> {
        let found = self.with_file_key(lookup, |key| self.cache.borrow_mut().get(key));
        let known = match found {
            Some((entry, checked)) if request.now.saturating_duration_since(checked) < self.revalidate => {
                return Ok(self.respond(&entry, lookup));
            }
            found => found.map(|(entry, _)| entry),
        };
        let folder = self.current_folder(request.now);
        match self.rules.load(&folder, &lookup.path, search_now(lookup, known.as_deref())) {
            Ok(loaded) => Ok(self.settle(request, lookup, &self.file_key(lookup), loaded, known)),
            Err(Miss::Wait(wait)) => Err(wait),
            Err(Miss::Refused(code)) => {
                if known.is_some() {
                    self.with_file_key(lookup, |key| self.cache.borrow_mut().remove(key));
                }
                if code != Code::NotFound || !lookup.may_fall_back {
                    return Ok(refuse(code));
                }
                self.fall_back_now(request, lookup, &folder)
            }
        }
    }

    fn fall_back_now(&self, request: &Request<'_>, lookup: &Lookup<'_>, folder: &Folder) -> Result<Answer, Wait> {
        let key = self.fallback_key(lookup.codings);
        let known = match self.cache.borrow_mut().get(&key) {
            Some((entry, checked)) if request.now.saturating_duration_since(checked) < self.revalidate => {
                return Ok(self.respond(&entry, lookup));
            }
            found => found.map(|(entry, _)| entry),
        };
        match self.rules.load_fallback(folder, search_now(lookup, known.as_deref())) {
            Ok(loaded) => Ok(self.settle(request, lookup, &key, loaded, known)),
            Err(Miss::Wait(wait)) => Err(wait),
            Err(Miss::Refused(code)) => Ok(refuse(code)),
        }
    }

    /// Remembers what was found, and answers.
    fn settle(&self, request: &Request<'_>, lookup: &Lookup<'_>, key: &[u8], loaded: Loaded, known: Option<Rc<Entry>>) -> Answer {
        let entry = match (loaded, known) {
            (Loaded::Folder, _) => {
                return match path::folder_location(request.path, request.query) {
                    Ok(location) => Answer::Response(Response {
                        status: 301,
                        head: format!("location: {location}\r\ncontent-length: 0\r\n").into(),
                        body: Body::Empty,
                    }),
                    Err(code) => refuse(code),
                };
            }
            (Loaded::Same, Some(entry)) => {
                self.cache.borrow_mut().confirm(key, request.now);
                entry
            }
            (Loaded::New(entry), _) => {
                let entry = Rc::new(entry);
                if matches!(entry.content, Content::Memory(_)) {
                    self.cache.borrow_mut().insert(key, entry.clone(), request.now);
                } else {
                    self.cache.borrow_mut().remove(key);
                }
                entry
            }
            // `Same` answers a version that was known.
            (Loaded::Same, None) => return refuse(Code::Internal),
        };
        self.respond(&entry, lookup)
    }

    /// Conditions, then ranges, then the file (RFC 9110 §13.2.2).
    fn respond(&self, entry: &Entry, lookup: &Lookup<'_>) -> Answer {
        match lookup.conditions.evaluate(entry.validators()) {
            Verdict::Proceed => {}
            Verdict::Failed => return refuse(Code::PreconditionFailed),
            Verdict::NotModified => {
                return Answer::Response(Response { status: 304, head: entry.common.clone(), body: Body::Empty });
            }
        }
        // Ranges are defined for GET alone (§14.2).
        if let Some(range) = lookup.range.filter(|_| !lookup.head_only)
            && lookup.conditions.range_applies(entry.validators(), date::wall_us() / 1_000_000)
        {
            match range::select(range, entry.version.size) {
                Selection::All => {}
                Selection::Parts(parts) => return self.rules.partial(entry, &parts),
                Selection::Unsatisfiable => {
                    let fields = vec![("content-range", format!("bytes */{}", entry.version.size))];
                    return Answer::Refusal { code: Code::RangeUnsatisfiable, fields };
                }
            }
        }
        let body = if lookup.head_only { Body::Empty } else { entry.whole() };
        Answer::Response(Response { status: 200, head: entry.full.clone(), body })
    }

    /// The root's folder; looks, now and then, whether its path leads to another one.
    fn current_folder(&self, now: Instant) -> Arc<Folder> {
        let mut folder = self.folder.borrow_mut();
        if folder.1.is_none_or(|checked| now.saturating_duration_since(checked) >= self.revalidate) {
            // The path of a root that is being served is in the kernel's memory: this does not wait.
            if let Some(replaced) = folder.0.replaced() {
                folder.0 = Arc::new(replaced);
            }
            folder.1 = Some(now);
        }
        folder.0.clone()
    }

    fn known(&self, lookup: &Lookup<'_>) -> Option<Rc<Entry>> {
        self.with_file_key(lookup, |key| self.cache.borrow_mut().get(key)).map(|(entry, _)| entry)
    }

    #[inline]
    fn with_file_key<T>(&self, lookup: &Lookup<'_>, then: impl FnOnce(&[u8]) -> T) -> T {
        let mut key = self.key.borrow_mut();
        key.clear();
        key.extend_from_slice(&self.id);
        key.push(lookup.codings.key());
        key.extend_from_slice(&lookup.path);
        then(&key)
    }

    fn file_key(&self, lookup: &Lookup<'_>) -> Vec<u8> {
        self.with_file_key(lookup, <[u8]>::to_vec)
    }

    /// No path holds a NUL, so no file's key is this one.
    fn fallback_key(&self, codings: Codings) -> Vec<u8> {
        [&self.id[..], &[codings.key(), 0]].concat()
    }
}

impl Drop for Root {
    fn drop(&mut self) {
        self.cache.borrow_mut().remove_prefix(&self.id);
    }
}

/// A request, read.
struct Lookup<'a> {
    head_only: bool,
    path: std::borrow::Cow<'a, [u8]>,
    codings: Codings,
    may_fall_back: bool,
    conditions: Conditions<'a>,
    range: Option<&'a [u8]>,
}

/// A search on the front thread itself.
fn search_now(lookup: &Lookup<'_>, known: Option<&Entry>) -> Search {
    let known = known.map(|entry| entry.version);
    Search { codings: lookup.codings, known, patience: Patience::None, may_compress: false }
}

/// Whether a missing path may be a page of a single-page application: a browser navigates there, or its last
/// segment has no extension. A missing script must stay a 404, or browsers complain about the page's syntax.
fn is_page(path: &[u8], accept: Option<&[u8]>) -> bool {
    let last = path.rsplit(|&b| b == b'/').next().unwrap_or_default();
    !last.contains(&b'.')
        || accept.is_some_and(|accept| {
            accept.split(|&b| b == b',').any(|range| range.trim_ascii().starts_with(b"text/html"))
                && media_quality(Some(accept), b"text", b"html").is_some_and(|quality| quality > 0)
        })
}

fn refuse(code: Code) -> Answer {
    Answer::Refusal { code, fields: Vec::new() }
}

#[cfg(test)]
mod tests;
