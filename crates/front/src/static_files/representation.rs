//! A file as one client gets it: found on disk in the best coding, with the fields that describe it.

use super::body::{self, Body, Segment};
use super::conditional::Validators;
use super::open::{Folder, Opened, Patience, Version};
use super::{Answer, Response};
use crate::accept::{AcceptEncoding, encoding_name};
use crate::compress;
use crate::date;
use crate::fault::Code;
use crate::media_type;
use bytes::Bytes;
use config::Encoding;
use rustix::io::Errno;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

/// Codings looked for on disk, the one that packs best first.
const ENCODINGS: [Encoding; 3] = [Encoding::Brotli, Encoding::Zstd, Encoding::Gzip];

/// What does not change while a root lives.
#[derive(Debug)]
pub(super) struct Rules {
    pub(super) settings: config::Static,
    /// Separates the parts of multipart answers; random, so that no file holds it.
    pub(super) boundary: String,
    pub(super) file_bytes_max: usize,
    pub(super) compression: config::Compression,
    /// Largest file that is compressed on the fly.
    pub(super) compressed_file_bytes_max: u64,
    /// What the route sets on its responses.
    pub(super) response_fields: Vec<(String, String)>,
}

/// The codings in which a client may get a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Codings {
    /// To look for beside the file, the client's favourite first.
    on_disk: [Option<Encoding>; 3],
    /// To make where nothing suitable lies there.
    on_the_fly: Option<Encoding>,
}

impl Codings {
    /// By the value of the request's `accept-encoding`.
    pub(super) fn of(field: Option<&[u8]>, rules: &Rules) -> Codings {
        let accepted = AcceptEncoding::parse(field);
        let mut codings = Codings::default();
        if rules.settings.precompressed {
            for slot in 0..codings.on_disk.len() {
                let taken = codings.on_disk;
                codings.on_disk[slot] = accepted.choose(ENCODINGS.into_iter().filter(|e| !taken.contains(&Some(*e))));
            }
        }
        if rules.compression.enabled {
            codings.on_the_fly = accepted.choose(rules.compression.encodings.iter().copied());
        }
        codings
    }

    /// Without what is made on the fly, which has neither ranges nor a strong tag.
    pub(super) fn on_disk_alone(self) -> Codings {
        Codings { on_the_fly: None, ..self }
    }

    /// Tells all values apart: each of four codings has one of four digits.
    pub(super) fn key(self) -> u8 {
        let digit = |coding: Option<Encoding>| coding.map_or(0, |encoding| encoding as u8 + 1);
        self.on_disk.into_iter().fold(digit(self.on_the_fly), |key, slot| key * 4 + digit(slot))
    }
}

/// How a file is looked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Search {
    pub(super) codings: Codings,
    /// The state that the caller has in memory.
    pub(super) known: Option<Version>,
    pub(super) patience: Patience,
    /// Whether this thread may take the time that compressing does.
    pub(super) may_compress: bool,
}

/// What the bytes of a representation are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Coding {
    Plain,
    OnDisk(Encoding),
    OnTheFly(Encoding),
}

/// A representation of a file at one moment.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) version: Version,
    pub(super) media_type: &'static str,
    /// The tag without `W/`: what is compressed on the fly has the weak form of its file's tag.
    pub(super) etag: String,
    /// Fields of every answer about it: type, validators, cache-control, encoding, vary.
    pub(super) common: Bytes,
    /// `common` with what a full answer has besides.
    pub(super) full: Bytes,
    pub(super) content: Content,
}

#[derive(Clone, Debug)]
pub(super) enum Content {
    Memory(Bytes),
    File(Arc<File>),
}

impl Content {
    /// Bytes; `version` is the file's.
    fn len(&self, version: &Version) -> u64 {
        match self {
            Content::Memory(bytes) => bytes.len() as u64,
            Content::File(_) => version.size,
        }
    }
}

impl Entry {
    /// Bytes of memory besides the structure itself.
    pub(super) fn memory_len(&self) -> usize {
        let content = match &self.content {
            Content::Memory(bytes) => bytes.len(),
            Content::File(_) => 0,
        };
        content + self.common.len() + self.full.len() + self.etag.len()
    }

    pub(super) fn validators(&self) -> Validators<'_> {
        Validators { etag: self.etag.as_bytes(), modified_s: self.version.modified_s() }
    }

    pub(super) fn slice(&self, offset: u64, len: u64) -> Segment {
        match &self.content {
            Content::Memory(bytes) => {
                // Both lie within a content in memory, so they fit a usize.
                Segment::Bytes(bytes.slice(offset as usize..(offset + len) as usize))
            }
            Content::File(file) => Segment::File { file: file.clone(), offset, len },
        }
    }

    pub(super) fn whole(&self) -> Body {
        match &self.content {
            Content::Memory(bytes) => Body::Bytes(bytes.clone()),
            Content::File(_) => Body::Segments(vec![self.slice(0, self.version.size)]),
        }
    }
}

/// What a lookup on disk found.
pub(super) enum Loaded {
    /// The state the caller knows already.
    Same,
    New(Entry),
    /// A folder named without its slash.
    Folder,
}

pub(super) enum Miss {
    Wait(Wait),
    Refused(Code),
}

/// What would have to be waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wait {
    Disk,
    /// The file has to be compressed.
    Encoder,
}

impl Rules {
    /// Finds the file for a path below the root, in the best coding.
    pub(super) fn load(&self, folder: &Folder, path: &[u8], search: Search) -> Result<Loaded, Miss> {
        let cache_control = self.settings.cache_control.as_deref();
        let is_folder = path.ends_with(b"/");
        // Normal paths have one slash at each end at most, "/" being both.
        let path = path.strip_prefix(b"/").unwrap_or(path);
        if !is_folder {
            return self.load_file(folder, path, search, cache_control);
        }
        let base = path.strip_suffix(b"/").unwrap_or(path);
        for index in &self.settings.index {
            let mut name = base.to_vec();
            if !name.is_empty() {
                name.push(b'/');
            }
            name.extend_from_slice(index.as_bytes());
            match self.load_file(folder, &name, search, cache_control) {
                Err(Miss::Refused(Code::NotFound)) | Ok(Loaded::Folder) => {}
                result => return result,
            }
        }
        Err(Miss::Refused(Code::NotFound))
    }

    /// The file that stands for every page. It must be asked for again each time: `cache_control` is meant for
    /// files whose names change with their content.
    pub(super) fn load_fallback(&self, folder: &Folder, search: Search) -> Result<Loaded, Miss> {
        let name = self.settings.fallback.as_deref().unwrap_or_default().trim_start_matches('/');
        match self.load_file(folder, name.as_bytes(), search, Some("no-cache"))? {
            Loaded::Folder => Err(Miss::Refused(Code::NotFound)),
            loaded => Ok(loaded),
        }
    }

    fn load_file(&self, folder: &Folder, path: &[u8], search: Search, cache_control: Option<&str>) -> Result<Loaded, Miss> {
        let open = |path: &[u8]| folder.open_below(path, search.patience);
        let (mut file, mut version) = match open(path) {
            Ok(Opened::File(file, version)) => (file, version),
            Ok(Opened::Folder) => return Ok(Loaded::Folder),
            Err(errno) => return Err(miss(errno, folder, path)),
        };
        let modified_s = version.modified_s();
        let mut coding = Coding::Plain;
        for encoding in search.codings.on_disk.into_iter().flatten() {
            let sibling = [path, extension(encoding)].concat();
            match open(&sibling) {
                // One that is older than its original was made from another original.
                Ok(Opened::File(packed, packed_version)) if packed_version.modified_s() >= modified_s => {
                    (file, version) = (packed, packed_version);
                    coding = Coding::OnDisk(encoding);
                    break;
                }
                Ok(_) => {}
                Err(errno) => match miss(errno, folder, &sibling) {
                    Miss::Refused(_) => {}
                    Miss::Wait(wait) => return Err(Miss::Wait(wait)),
                },
            }
        }
        if search.known == Some(version) {
            return Ok(Loaded::Same);
        }
        let size = usize::try_from(version.size).unwrap_or(usize::MAX);
        let content = match search.codings.on_the_fly {
            Some(encoding) if coding == Coding::Plain && self.compresses(path, version.size, cache_control) => {
                if !search.may_compress {
                    return Err(Miss::Wait(Wait::Encoder));
                }
                coding = Coding::OnTheFly(encoding);
                Content::Memory(compressed(encoding, &read_whole(&file, size, search.patience)?)?)
            }
            _ if size <= self.file_bytes_max => Content::Memory(read_whole(&file, size, search.patience)?),
            _ => Content::File(Arc::new(file)),
        };
        Ok(Loaded::New(self.entry(path, version, coding, content, cache_control)))
    }

    /// Whether clients that accept it get this file compressed on the fly.
    fn compresses(&self, path: &[u8], size: u64, cache_control: Option<&str>) -> bool {
        if !self.compression.enabled || size < self.compression.min_bytes.max(1) || size > self.compressed_file_bytes_max {
            return false;
        }
        let own = [("content-type", media_type::of_name(path)), ("cache-control", cache_control.unwrap_or_default())];
        let set = self.response_fields.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let fields = own.into_iter().chain(set).map(|(name, value)| (name.as_bytes(), value.as_bytes()));
        compress::suits(&self.compression, fields)
    }

    pub(super) fn entry(
        &self,
        path: &[u8],
        version: Version,
        coding: Coding,
        content: Content,
        cache_control: Option<&str>,
    ) -> Entry {
        let etag = etag(&version);
        let media_type = media_type::of_name(path);
        let mut common = Vec::with_capacity(256);
        put(&mut common, "content-type", media_type);
        let on_the_fly = matches!(coding, Coding::OnTheFly(_));
        put(&mut common, "etag", &if on_the_fly { format!("W/{etag}") } else { etag.clone() });
        let modified = date::http_date(version.modified_s());
        put(&mut common, "last-modified", std::str::from_utf8(&modified).unwrap_or_default());
        if let Some(value) = cache_control {
            put(&mut common, "cache-control", value);
        }
        if let Coding::OnDisk(encoding) | Coding::OnTheFly(encoding) = coding {
            put(&mut common, "content-encoding", encoding_name(encoding));
        }
        if coding != Coding::Plain
            || (self.settings.precompressed && media_type::compresses(media_type.as_bytes()))
            || self.compresses(path, version.size, cache_control)
        {
            put(&mut common, "vary", "accept-encoding");
        }
        let mut full = common.clone();
        if !on_the_fly {
            put(&mut full, "accept-ranges", "bytes");
        }
        put(&mut full, "content-length", &content.len(&version).to_string());
        Entry { version, media_type, etag, common: common.into(), full: full.into(), content }
    }

    /// 206 with one part, or with several as multipart/byteranges (§14.6).
    pub(super) fn partial(&self, entry: &Entry, parts: &[(u64, u64)]) -> Answer {
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

fn miss(errno: Errno, folder: &Folder, path: &[u8]) -> Miss {
    match errno {
        Errno::AGAIN => Miss::Wait(Wait::Disk),
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
                Ok(None) => return Err(Miss::Wait(Wait::Disk)),
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

fn compressed(encoding: Encoding, plain: &[u8]) -> Result<Bytes, Miss> {
    compress::whole(encoding, plain).map_err(|error| {
        tracing::error!(%error, "cannot compress a static file");
        Miss::Refused(Code::Internal)
    })
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
