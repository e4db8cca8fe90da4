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

pub use body::{BLOCKING_MAX, Body, Reader, Segment, send_file};
pub use open::open_named;

use crate::accept::{AcceptEncoding, encoding_name, media_quality};
use crate::date;
use crate::fault::Code;
use crate::media_type;
use bytes::Bytes;
use cache::Cache;
use conditional::{Conditions, Validators, Verdict};
use config::Encoding;
use open::{Folder, Opened, Patience, Version};
use range::Selection;
use rustix::io::Errno;
use std::cell::{Cell, RefCell};
use std::fs::File;
use std::hash::{BuildHasher, RandomState};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Codings looked for on disk, the one that packs best first.
const ENCODINGS: [Encoding; 3] = [Encoding::Brotli, Encoding::Zstd, Encoding::Gzip];

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
}

impl Store {
    /// An empty memory for this thread.
    pub fn new(settings: &config::StaticCache) -> Store {
        Store {
            cache: Rc::new(RefCell::new(Cache::new(settings.bytes_max))),
            file_bytes_max: settings.file_bytes_max,
            revalidate: settings.revalidate,
            roots: Cell::new(0),
        }
    }

    /// Opens a root.
    ///
    /// # Errors
    /// When the folder can't be opened; the message names it.
    pub fn root(&self, settings: &config::Static) -> io::Result<Root> {
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
            }),
            folder: RefCell::new((Arc::new(folder), None)),
            cache: self.cache.clone(),
            revalidate: self.revalidate,
            id: id.to_le_bytes(),
            key: RefCell::new(Vec::new()),
            last_order: RefCell::new((Vec::new(), Order::default())),
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
    last_order: RefCell<(Vec<u8>, Order)>,
}

/// What does not change while a root lives.
#[derive(Debug)]
struct Rules {
    settings: config::Static,
    /// Separates the parts of multipart answers; random, so that no file holds it.
    boundary: String,
    file_bytes_max: usize,
}

/// The codings that a client accepts, best first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Order([Option<Encoding>; 3]);

impl Order {
    fn parse(field: Option<&[u8]>) -> Order {
        let accepted = AcceptEncoding::parse(field);
        let mut order = Order::default();
        for slot in 0..order.0.len() {
            let taken = order.0;
            order.0[slot] = accepted.choose(ENCODINGS.into_iter().filter(|e| !taken.contains(&Some(*e))));
        }
        order
    }

    fn key(self) -> u8 {
        self.0.iter().fold(0, |key, slot| key * 4 + slot.map_or(0, |encoding| encoding as u8 + 1))
    }
}

/// A representation of a file at one moment.
#[derive(Debug)]
struct Entry {
    version: Version,
    media_type: &'static str,
    etag: String,
    /// Fields of every answer about it: type, validators, cache-control, encoding, vary.
    common: Bytes,
    /// `common` with what a full answer has besides.
    full: Bytes,
    content: Content,
}

#[derive(Clone, Debug)]
enum Content {
    Memory(Bytes),
    File(Arc<File>),
}

impl Entry {
    /// Bytes of memory besides the structure itself.
    fn memory_len(&self) -> usize {
        let content = match &self.content {
            Content::Memory(bytes) => bytes.len(),
            Content::File(_) => 0,
        };
        content + self.common.len() + self.full.len() + self.etag.len()
    }

    fn validators(&self) -> Validators<'_> {
        Validators { etag: self.etag.as_bytes(), modified_s: self.version.modified_s() }
    }

    fn slice(&self, offset: u64, len: u64) -> Segment {
        match &self.content {
            Content::Memory(bytes) => {
                // Both lie within a content in memory, so they fit a usize.
                Segment::Bytes(bytes.slice(offset as usize..(offset + len) as usize))
            }
            Content::File(file) => Segment::File { file: file.clone(), offset, len },
        }
    }

    fn whole(&self) -> Body {
        match &self.content {
            Content::Memory(bytes) => Body::Bytes(bytes.clone()),
            Content::File(_) => Body::Segments(vec![self.slice(0, self.version.size)]),
        }
    }
}

/// What a lookup on disk found.
enum Loaded {
    /// The state the caller knows already.
    Same,
    New(Entry),
    /// A folder named without its slash.
    Folder,
}

enum Miss {
    /// A disk would have to be waited for.
    Wait,
    Refused(Code),
}

impl Root {
    /// Answers without waiting; `None` when a disk would have to be waited for: call [`Root::get`] then.
    pub fn get_now(&self, request: &Request<'_>) -> Option<Answer> {
        let lookup = match self.lookup(request) {
            Ok(lookup) => lookup,
            Err(answer) => return Some(answer),
        };
        self.try_now(request, &lookup)
    }

    /// Answers, and waits for disks on other threads.
    pub async fn get(&self, request: &Request<'_>) -> Answer {
        let lookup = match self.lookup(request) {
            Ok(lookup) => lookup,
            Err(answer) => return answer,
        };
        if let Some(answer) = self.try_now(request, &lookup) {
            return answer;
        }
        let (folder, known, rules) = (self.folder.borrow().0.clone(), self.known(&lookup), self.rules.clone());
        let (path, order, may_fall_back) = (lookup.path.to_vec(), lookup.order, lookup.may_fall_back);
        let version = known.as_ref().map(|entry| entry.version);
        let found = body::blocking(move || {
            match rules.load(&folder, &path, order, version, Patience::Disk) {
                Err(Miss::Refused(Code::NotFound)) if may_fall_back => {
                    rules.load_fallback(&folder, order, None, Patience::Disk).map(|loaded| (loaded, true))
                }
                result => result.map(|loaded| (loaded, false)),
            }
        })
        .await;
        let result = match found {
            Ok(found) => found,
            Err(error) => {
                tracing::error!(%error, "a thread that reads static files has failed");
                return refuse(Code::Internal);
            }
        };
        match result {
            Ok((loaded, fallback)) => {
                let key = if fallback { self.fallback_key(lookup.order) } else { self.file_key(&lookup) };
                let known = if fallback { None } else { known };
                self.settle(request, &lookup, &key, loaded, known)
            }
            Err(Miss::Refused(code)) => refuse(code),
            // Only a kernel that keeps being unsure about a path that keeps changing.
            Err(Miss::Wait) => refuse(Code::NotFound),
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
            order: Order::default(),
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
        if settings.precompressed {
            lookup.order = self.order(accept_encoding);
        }
        lookup.may_fall_back = settings.fallback.is_some() && is_page(&lookup.path, accept);
        Ok(lookup)
    }

    fn order(&self, field: Option<&[u8]>) -> Order {
        let Some(field) = field else { return Order::default() };
        let mut last = self.last_order.borrow_mut();
        if last.0 != field {
            last.1 = Order::parse(Some(field));
            last.0.clear();
            last.0.extend_from_slice(field);
        }
        last.1
    }

    fn try_now(&self, request: &Request<'_>, lookup: &Lookup<'_>) -> Option<Answer> {
        let found = self.with_file_key(lookup, |key| self.cache.borrow_mut().get(key));
        let known = match found {
            Some((entry, checked)) if request.now.saturating_duration_since(checked) < self.revalidate => {
                return Some(self.respond(&entry, lookup));
            }
            found => found.map(|(entry, _)| entry),
        };
        let folder = self.current_folder(request.now);
        let version = known.as_ref().map(|entry| entry.version);
        match self.rules.load(&folder, &lookup.path, lookup.order, version, Patience::None) {
            Ok(loaded) => Some(self.settle(request, lookup, &self.file_key(lookup), loaded, known)),
            Err(Miss::Wait) => None,
            Err(Miss::Refused(code)) => {
                if known.is_some() {
                    self.with_file_key(lookup, |key| self.cache.borrow_mut().remove(key));
                }
                if code != Code::NotFound || !lookup.may_fall_back {
                    return Some(refuse(code));
                }
                self.fall_back_now(request, lookup, &folder)
            }
        }
    }

    fn fall_back_now(&self, request: &Request<'_>, lookup: &Lookup<'_>, folder: &Folder) -> Option<Answer> {
        let key = self.fallback_key(lookup.order);
        let known = match self.cache.borrow_mut().get(&key) {
            Some((entry, checked)) if request.now.saturating_duration_since(checked) < self.revalidate => {
                return Some(self.respond(&entry, lookup));
            }
            found => found.map(|(entry, _)| entry),
        };
        let version = known.as_ref().map(|entry| entry.version);
        match self.rules.load_fallback(folder, lookup.order, version, Patience::None) {
            Ok(loaded) => Some(self.settle(request, lookup, &key, loaded, known)),
            Err(Miss::Wait) => None,
            Err(Miss::Refused(code)) => Some(refuse(code)),
        }
    }

    /// Remembers what was found, and answers.
    fn settle(
        &self,
        request: &Request<'_>,
        lookup: &Lookup<'_>,
        key: &[u8],
        loaded: Loaded,
        known: Option<Rc<Entry>>,
    ) -> Answer {
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
        key.push(lookup.order.key());
        key.extend_from_slice(&lookup.path);
        then(&key)
    }

    fn file_key(&self, lookup: &Lookup<'_>) -> Vec<u8> {
        self.with_file_key(lookup, <[u8]>::to_vec)
    }

    /// No path holds a NUL, so no file's key is this one.
    fn fallback_key(&self, order: Order) -> Vec<u8> {
        [&self.id[..], &[order.key(), 0]].concat()
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
    order: Order,
    may_fall_back: bool,
    conditions: Conditions<'a>,
    range: Option<&'a [u8]>,
}

impl Rules {
    /// Finds the file for a path below the root, in the best coding.
    fn load(
        &self,
        folder: &Folder,
        path: &[u8],
        order: Order,
        known: Option<Version>,
        patience: Patience,
    ) -> Result<Loaded, Miss> {
        let cache_control = self.settings.cache_control.as_deref();
        let is_folder = path.ends_with(b"/");
        // Normal paths have one slash at each end at most, "/" being both.
        let path = path.strip_prefix(b"/").unwrap_or(path);
        if !is_folder {
            return self.load_file(folder, path, order, known, cache_control, patience);
        }
        let base = path.strip_suffix(b"/").unwrap_or(path);
        for index in &self.settings.index {
            let mut name = base.to_vec();
            if !name.is_empty() {
                name.push(b'/');
            }
            name.extend_from_slice(index.as_bytes());
            match self.load_file(folder, &name, order, known, cache_control, patience) {
                Err(Miss::Refused(Code::NotFound)) | Ok(Loaded::Folder) => {}
                result => return result,
            }
        }
        Err(Miss::Refused(Code::NotFound))
    }

    /// The file that stands for every page. It must be asked for again each time: `cache_control` is meant for
    /// files whose names change with their content.
    fn load_fallback(
        &self,
        folder: &Folder,
        order: Order,
        known: Option<Version>,
        patience: Patience,
    ) -> Result<Loaded, Miss> {
        let name = self.settings.fallback.as_deref().unwrap_or_default().trim_start_matches('/');
        match self.load_file(folder, name.as_bytes(), order, known, Some("no-cache"), patience)? {
            Loaded::Folder => Err(Miss::Refused(Code::NotFound)),
            loaded => Ok(loaded),
        }
    }

    fn load_file(
        &self,
        folder: &Folder,
        path: &[u8],
        order: Order,
        known: Option<Version>,
        cache_control: Option<&str>,
        patience: Patience,
    ) -> Result<Loaded, Miss> {
        let open = |path: &[u8]| folder.open_below(path, patience);
        let (mut file, mut version) = match open(path) {
            Ok(Opened::File(file, version)) => (file, version),
            Ok(Opened::Folder) => return Ok(Loaded::Folder),
            Err(errno) => return Err(miss(errno, folder, path)),
        };
        let modified_s = version.modified_s();
        let mut chosen = None;
        for encoding in order.0.into_iter().flatten() {
            let sibling = [path, extension(encoding)].concat();
            match open(&sibling) {
                // One that is older than its original was made from another original.
                Ok(Opened::File(packed, packed_version)) if packed_version.modified_s() >= modified_s => {
                    (file, version) = (packed, packed_version);
                    chosen = Some(encoding);
                    break;
                }
                Ok(_) => {}
                Err(errno) => match miss(errno, folder, &sibling) {
                    Miss::Refused(_) => {}
                    Miss::Wait => return Err(Miss::Wait),
                },
            }
        }
        if known == Some(version) {
            return Ok(Loaded::Same);
        }
        let content = match usize::try_from(version.size).ok().filter(|size| *size <= self.file_bytes_max) {
            Some(size) => Content::Memory(read_whole(&file, size, patience)?),
            None => Content::File(Arc::new(file)),
        };
        Ok(Loaded::New(self.entry(path, version, chosen, content, cache_control)))
    }

    fn entry(
        &self,
        path: &[u8],
        version: Version,
        encoding: Option<Encoding>,
        content: Content,
        cache_control: Option<&str>,
    ) -> Entry {
        let etag = etag(&version);
        let media_type = media_type::of_name(path);
        let mut common = Vec::with_capacity(256);
        put(&mut common, "content-type", media_type);
        put(&mut common, "etag", &etag);
        let modified = date::http_date(version.modified_s());
        put(&mut common, "last-modified", std::str::from_utf8(&modified).unwrap_or_default());
        if let Some(value) = cache_control {
            put(&mut common, "cache-control", value);
        }
        if let Some(encoding) = encoding {
            put(&mut common, "content-encoding", encoding_name(encoding));
        }
        if encoding.is_some() || (self.settings.precompressed && media_type::compresses(media_type.as_bytes())) {
            put(&mut common, "vary", "accept-encoding");
        }
        let mut full = common.clone();
        put(&mut full, "accept-ranges", "bytes");
        put(&mut full, "content-length", &version.size.to_string());
        Entry { version, media_type, etag, common: common.into(), full: full.into(), content }
    }

    /// 206 with one part, or with several as multipart/byteranges (§14.6).
    fn partial(&self, entry: &Entry, parts: &[(u64, u64)]) -> Answer {
        let size = entry.version.size;
        let content_range = |&(first, len): &(u64, u64)| format!("bytes {first}-{}/{size}", first + len - 1);
        if let [part] = parts {
            let mut head = entry.common.to_vec();
            put(&mut head, "content-range", &content_range(part));
            put(&mut head, "content-length", &part.1.to_string());
            let body = match entry.slice(part.0, part.1) {
                Segment::Bytes(bytes) => Body::Bytes(bytes),
                file => Body::Segments(vec![file]),
            };
            return Answer::Response(Response { status: 206, head: head.into(), body });
        }
        let mut segments = Vec::with_capacity(2 * parts.len() + 1);
        for (index, part) in parts.iter().enumerate() {
            let mut delimiter = Vec::with_capacity(160);
            if index > 0 {
                delimiter.extend_from_slice(b"\r\n");
            }
            delimiter.extend_from_slice(format!("--{}\r\n", self.boundary).as_bytes());
            put(&mut delimiter, "content-type", entry.media_type);
            put(&mut delimiter, "content-range", &content_range(part));
            delimiter.extend_from_slice(b"\r\n");
            segments.push(Segment::Bytes(delimiter.into()));
            segments.push(entry.slice(part.0, part.1));
        }
        segments.push(Segment::Bytes(format!("\r\n--{}--\r\n", self.boundary).into()));
        let body = Body::Segments(segments);
        let mut head = Vec::with_capacity(256);
        put(&mut head, "content-type", &format!("multipart/byteranges; boundary={}", self.boundary));
        // All fields but the first, the type, which the parts carry.
        let rest = entry.common.iter().position(|&b| b == b'\n').map_or(0, |at| at + 1);
        head.extend_from_slice(&entry.common[rest..]);
        put(&mut head, "content-length", &body.len().to_string());
        Answer::Response(Response { status: 206, head: head.into(), body })
    }
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

fn miss(errno: Errno, folder: &Folder, path: &[u8]) -> Miss {
    match errno {
        Errno::AGAIN => Miss::Wait,
        Errno::NOENT | Errno::NOTDIR | Errno::NAMETOOLONG | Errno::LOOP | Errno::XDEV | Errno::NXIO => {
            Miss::Refused(Code::NotFound)
        }
        Errno::ACCESS | Errno::PERM => Miss::Refused(Code::Forbidden),
        error => {
            tracing::error!(
                %error, folder = %folder.path().display(), path = %String::from_utf8_lossy(path),
                "cannot open a static file"
            );
            Miss::Refused(Code::Internal)
        }
    }
}

/// Reads a small file as it was when its size was taken.
fn read_whole(file: &File, size: usize, patience: Patience) -> Result<Bytes, Miss> {
    let mut content = vec![0; size];
    let mut filled = 0;
    while filled < size {
        let rest = &mut content[filled..];
        let read = match patience {
            Patience::None => match body::read_cached(file, filled as u64, rest) {
                Ok(None) => return Err(Miss::Wait),
                Ok(Some(read)) => Ok(read),
                Err(error) => Err(error),
            },
            Patience::Disk => file.read_at(rest, filled as u64),
        };
        match read {
            // Being rewritten at this moment: a client that asks again finds it whole.
            Ok(0) => return Err(Miss::Refused(Code::NotFound)),
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => {
                tracing::error!(%error, "cannot read a static file");
                return Err(Miss::Refused(Code::Internal));
            }
        }
    }
    Ok(content.into())
}

/// A strong tag: changes with every write that changes modification time, size or file. Mixed, because inode
/// numbers are nobody's business.
fn etag(version: &Version) -> String {
    // The finaliser of SplitMix64 (Steele, Lea, Flood 2014).
    let mix = |mut x: u64| {
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    };
    let hash = [version.modified_ns, version.size, version.inode, version.device]
        .into_iter()
        .fold(0x9e37_79b9_7f4a_7c15, |hash, part| mix(hash ^ mix(part.wrapping_add(0x9e37_79b9_7f4a_7c15))));
    format!("\"{hash:016x}\"")
}

fn extension(encoding: Encoding) -> &'static [u8] {
    match encoding {
        Encoding::Brotli => b".br",
        Encoding::Zstd => b".zst",
        Encoding::Gzip => b".gz",
    }
}

fn put(head: &mut Vec<u8>, name: &str, value: &str) {
    // Writing to a Vec cannot fail.
    let _ = write!(head, "{name}: {value}\r\n");
}

fn refuse(code: Code) -> Answer {
    Answer::Refusal { code, fields: Vec::new() }
}

#[cfg(test)]
mod tests;
