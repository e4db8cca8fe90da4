//! A file as one client gets it: found on disk in the best coding, with the fields that describe it.

use super::body::{self, Body, Segment};
use super::conditional::Validators;
use super::open::{Folder, Opened, Patience, Version};
use super::{Answer, Response};
use crate::accept::{AcceptEncoding, encoding_name};
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
}

/// The codings that a client accepts, best first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Order([Option<Encoding>; 3]);

impl Order {
    pub(super) fn parse(field: Option<&[u8]>) -> Order {
        let accepted = AcceptEncoding::parse(field);
        let mut order = Order::default();
        for slot in 0..order.0.len() {
            let taken = order.0;
            order.0[slot] = accepted.choose(ENCODINGS.into_iter().filter(|e| !taken.contains(&Some(*e))));
        }
        order
    }

    pub(super) fn key(self) -> u8 {
        self.0.iter().fold(0, |key, slot| key * 4 + slot.map_or(0, |encoding| encoding as u8 + 1))
    }
}

/// A representation of a file at one moment.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) version: Version,
    pub(super) media_type: &'static str,
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
    /// A disk would have to be waited for.
    Wait,
    Refused(Code),
}

impl Rules {
    /// Finds the file for a path below the root, in the best coding.
    pub(super) fn load(
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
    pub(super) fn load_fallback(
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

    pub(super) fn entry(
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
