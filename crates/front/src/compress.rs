//! Compression of responses on the fly: whether, how, and what becomes of the head.
//!
//! The decision is pure. The [`Encoder`] takes bytes and gives bytes; it never waits and writes nowhere. Input
//! that is flushed comes out at once, so that events and slowly written pages are not held back.
//!
//! Parameters favour speed, and little memory for each response: about 1 MiB. [`ENCODERS_MAX`] bounds their
//! number; what finds no encoder is sent as it is.

use std::cell::Cell;
use std::io::{self, Write};
use std::rc::Rc;

use bytes::Bytes;
use config::Encoding;

use crate::accept::{AcceptEncoding, encoding_name};
use crate::head::Field;
use crate::media_type;

/// Responses that one thread compresses at the same time; event streams hold an encoder for as long as they
/// last.
pub const ENCODERS_MAX: usize = 64;

/// Brotli: 0–11. 4 packs better than gzip at its best, at several times its speed.
const BROTLI_QUALITY: u32 = 4;
/// Zstandard: 1–22; the library's default.
const ZSTD_LEVEL: i32 = 3;
/// gzip: 1–9; the best ratio for little more time than 1.
const GZIP_LEVEL: u32 = 5;
/// Log₂ of the window of brotli and Zstandard: 256 KiB, enough for pages and data, and far below the 8 MiB that
/// RFC 9659 lets clients rely on.
const WINDOW_LOG: u32 = 18;

/// A response that may be compressed.
#[derive(Clone, Copy, Debug)]
pub struct Candidate<'a> {
    /// Value of the request's `accept-encoding`.
    pub accept_encoding: Option<&'a [u8]>,
    /// The request is a HEAD.
    pub is_head: bool,
    /// Status of the response.
    pub status: u16,
    /// Length of the body, if it is known.
    pub body_len: Option<u64>,
    /// Fields of the response.
    pub fields: &'a [(&'a [u8], &'a [u8])],
}

/// What to do with a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Send it as it is.
    Leave,
    /// Send it as it is, and say in `vary` that another client might have got it compressed.
    Vary,
    /// Compress it; [`Rewrite`] says what becomes of the head.
    Encode(Encoding),
}

/// One thread's compressor.
#[derive(Clone, Debug)]
pub struct Compressor {
    settings: Rc<config::Compression>,
    encoders: Rc<Cell<usize>>,
}

impl Compressor {
    /// By these settings, with no response being compressed yet.
    pub fn new(settings: &config::Compression) -> Compressor {
        Compressor { settings: Rc::new(settings.clone()), encoders: Rc::default() }
    }

    /// Whether a body of this length (`None` when it is not known) is worth [`Compressor::decide`].
    #[inline]
    pub fn wants(&self, body_len: Option<u64>) -> bool {
        self.settings.enabled && body_len.is_none_or(|len| len >= self.settings.min_bytes.max(1))
    }

    /// Decides about one response.
    pub fn decide(&self, candidate: &Candidate<'_>) -> Decision {
        let settings = &*self.settings;
        let bodiless = matches!(candidate.status, 0..200 | 204 | 205 | 304);
        // A part is a part of the representation as it was when its range was computed (RFC 9110 §15.3.7).
        if !settings.enabled || bodiless || candidate.status == 206 {
            return Decision::Leave;
        }
        if candidate.body_len.is_some_and(|len| len < settings.min_bytes.max(1))
            || !suits(settings, candidate.fields.iter().copied())
        {
            return Decision::Leave;
        }
        if candidate.is_head {
            return Decision::Vary;
        }
        match AcceptEncoding::parse(candidate.accept_encoding).choose(settings.encodings.iter().copied()) {
            Some(encoding) if self.encoders.get() < ENCODERS_MAX => Decision::Encode(encoding),
            _ => Decision::Vary,
        }
    }

    /// An encoder for a body that [`Compressor::decide`] wants compressed.
    ///
    /// # Errors
    /// When the library can't allocate its state.
    pub fn encoder(&self, encoding: Encoding) -> io::Result<Encoder> {
        Ok(Encoder { state: State::new(encoding)?, _counted: Counted::new(&self.encoders) })
    }
}

/// Whether a response with these fields may be compressed, and is worth it by its type.
pub fn suits<'a>(settings: &config::Compression, fields: impl IntoIterator<Item = Field<'a>>) -> bool {
    let mut compresses = false;
    for (name, value) in fields {
        let is = |other: &[u8]| name.eq_ignore_ascii_case(other);
        match name.len() {
            12 if is(b"content-type") => compresses = type_compresses(settings, value),
            16 if is(b"content-encoding") && !value.trim_ascii().eq_ignore_ascii_case(b"identity") => return false,
            13 if is(b"content-range") => return false,
            // RFC 9111 §5.2.2.6.
            13 if is(b"cache-control") && lists(value, b"no-transform") => return false,
            _ => {}
        }
    }
    compresses
}

fn type_compresses(settings: &config::Compression, content_type: &[u8]) -> bool {
    let essence = content_type.split(|&b| b == b';').next().unwrap_or_default().trim_ascii();
    media_type::compresses(essence)
        || settings.types.iter().map(String::as_bytes).any(|wanted| match wanted.strip_suffix(b"/*") {
            Some(kind) => {
                essence.get(..kind.len()).is_some_and(|start| start.eq_ignore_ascii_case(kind))
                    && essence.get(kind.len()) == Some(&b'/')
            }
            None => essence.eq_ignore_ascii_case(wanted),
        })
}

/// Compresses a body that is all there. Takes some milliseconds for each 100 KB: not for a front thread.
///
/// # Errors
/// As [`Encoder::push`].
pub fn whole(encoding: Encoding, body: &[u8]) -> io::Result<Bytes> {
    let mut state = State::new(encoding)?;
    state.feed(body, false)?;
    state.finish()
}

/// What becomes of one field of a head whose body is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rewrite {
    /// It stays.
    Keep,
    /// It no longer holds.
    Drop,
    /// Its value is sent with `W/` before it: the bytes are no longer those that the tag was made for.
    Weaken,
}

impl Rewrite {
    /// Decides about one field.
    pub fn of(name: &[u8], value: &[u8]) -> Rewrite {
        let is = |other: &[u8]| name.eq_ignore_ascii_case(other);
        match name.len() {
            4 if is(b"etag") && value.starts_with(b"\"") => Rewrite::Weaken,
            6 if is(b"digest") => Rewrite::Drop,
            11 if is(b"content-md5") || is(b"repr-digest") => Rewrite::Drop,
            13 if is(b"accept-ranges") => Rewrite::Drop,
            14 if is(b"content-length") || is(b"content-digest") => Rewrite::Drop,
            16 if is(b"content-encoding") => Rewrite::Drop,
            _ => Rewrite::Keep,
        }
    }

    /// Fields that the head gets besides; a second `vary` line adds to a first one (RFC 9110 §5.3).
    pub fn added(encoding: Encoding) -> [(&'static str, &'static str); 2] {
        [("content-encoding", encoding_name(encoding)), VARY]
    }
}

/// What [`Decision::Vary`] adds to the head.
pub const VARY: (&str, &str) = ("vary", "accept-encoding");

/// Compresses one body.
pub struct Encoder {
    state: State,
    _counted: Counted,
}

impl Encoder {
    /// Takes the next piece, gives what comes out. With `flush` that is everything taken so far, in a form that
    /// the client can decode at once; without it, mostly nothing, which packs better when more is at hand.
    /// Takes some milliseconds for each 100 KB: callers cut longer pieces.
    ///
    /// # Errors
    /// Those of the library, none of which the input can cause.
    pub fn push(&mut self, input: &[u8], flush: bool) -> io::Result<Bytes> {
        Ok(std::mem::take(self.state.feed(input, flush)?).into())
    }

    /// Ends the body; gives its last bytes.
    ///
    /// # Errors
    /// As [`Encoder::push`].
    pub fn finish(self) -> io::Result<Bytes> {
        self.state.finish()
    }
}

impl std::fmt::Debug for Encoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let encoding = match self.state {
            State::Brotli(_) => Encoding::Brotli,
            State::Zstd(_) => Encoding::Zstd,
            State::Gzip(_) => Encoding::Gzip,
        };
        f.debug_tuple("Encoder").field(&encoding).finish()
    }
}

enum State {
    Brotli(Box<brotli::CompressorWriter<Vec<u8>>>),
    Zstd(Box<zstd::stream::write::Encoder<'static, Vec<u8>>>),
    Gzip(Box<flate2::write::GzEncoder<Vec<u8>>>),
}

impl State {
    fn new(encoding: Encoding) -> io::Result<State> {
        Ok(match encoding {
            Encoding::Brotli => {
                const BUFFER_LEN: usize = 4096;
                let encoder = brotli::CompressorWriter::new(Vec::new(), BUFFER_LEN, BROTLI_QUALITY, WINDOW_LOG);
                State::Brotli(Box::new(encoder))
            }
            Encoding::Zstd => {
                let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), ZSTD_LEVEL)?;
                encoder.window_log(WINDOW_LOG)?;
                State::Zstd(Box::new(encoder))
            }
            Encoding::Gzip => {
                let level = flate2::Compression::new(GZIP_LEVEL);
                State::Gzip(Box::new(flate2::write::GzEncoder::new(Vec::new(), level)))
            }
        })
    }

    /// Takes a piece; gives what has come out and has not been taken away yet.
    fn feed(&mut self, input: &[u8], flush: bool) -> io::Result<&mut Vec<u8>> {
        Ok(match self {
            State::Brotli(encoder) => {
                feed(&mut **encoder, input, flush)?;
                encoder.get_mut()
            }
            State::Zstd(encoder) => {
                feed(&mut **encoder, input, flush)?;
                encoder.get_mut()
            }
            State::Gzip(encoder) => {
                feed(&mut **encoder, input, flush)?;
                encoder.get_mut()
            }
        })
    }

    fn finish(self) -> io::Result<Bytes> {
        Ok(match self {
            State::Brotli(encoder) => encoder.into_inner(),
            State::Zstd(encoder) => encoder.finish()?,
            State::Gzip(encoder) => encoder.finish()?,
        }
        .into())
    }
}

fn feed(encoder: &mut impl Write, input: &[u8], flush: bool) -> io::Result<()> {
    encoder.write_all(input)?;
    if flush { encoder.flush() } else { Ok(()) }
}

/// One of the thread's encoders, given back when dropped.
struct Counted(Rc<Cell<usize>>);

impl Counted {
    fn new(encoders: &Rc<Cell<usize>>) -> Counted {
        encoders.set(encoders.get() + 1);
        Counted(encoders.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

/// Whether a directive stands in a comma-separated list.
fn lists(value: &[u8], directive: &[u8]) -> bool {
    value.split(|&b| b == b',').any(|member| member.trim_ascii().eq_ignore_ascii_case(directive))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ALL: [Encoding; 3] = [Encoding::Brotli, Encoding::Zstd, Encoding::Gzip];

    fn compressor() -> Compressor {
        Compressor::new(&config::Compression {
            enabled: true,
            encodings: ALL.to_vec(),
            min_bytes: 1000,
            types: vec!["application/x-mine".into(), "model/*".into()],
        })
    }

    fn check(change: impl FnOnce(&mut Candidate<'_>), fields: &[(&str, &str)], expected: Decision) {
        let fields: Vec<(&[u8], &[u8])> = fields.iter().map(|(n, v)| (n.as_bytes(), v.as_bytes())).collect();
        let mut candidate =
            Candidate { accept_encoding: Some(b"gzip, br"), is_head: false, status: 200, body_len: Some(5000), fields: &fields };
        change(&mut candidate);
        assert_eq!(compressor().decide(&candidate), expected, "{candidate:?}");
    }

    #[test]
    fn what_is_compressed_and_what_is_not() {
        use Decision::*;
        let html = ("Content-Type", "text/html; charset=utf-8");
        check(|_| {}, &[html], Encode(Encoding::Brotli));
        check(|c| c.accept_encoding = Some(b"br;q=0.1, gzip"), &[html], Encode(Encoding::Gzip));
        check(|c| c.accept_encoding = Some(b"zstd"), &[html], Encode(Encoding::Zstd));
        check(|c| c.body_len = None, &[html], Encode(Encoding::Brotli));
        check(|c| c.status = 404, &[html], Encode(Encoding::Brotli));
        check(|_| {}, &[html, ("content-encoding", "identity")], Encode(Encoding::Brotli));
        check(|_| {}, &[("content-type", "application/X-Mine")], Encode(Encoding::Brotli));
        check(|_| {}, &[("content-type", "Model/obj;a=b")], Encode(Encoding::Brotli));
        check(|c| c.body_len = None, &[("content-type", "text/event-stream")], Encode(Encoding::Brotli));

        check(|c| c.accept_encoding = None, &[html], Vary);
        check(|c| c.accept_encoding = Some(b"deflate"), &[html], Vary);
        check(|c| c.accept_encoding = Some(b"identity, br;q=0.5"), &[html], Vary);
        check(|c| c.is_head = true, &[html], Vary);

        check(|c| c.body_len = Some(999), &[html], Leave);
        check(|_| {}, &[("content-type", "image/png")], Leave);
        check(|_| {}, &[("content-type", "modeling/x")], Leave);
        check(|_| {}, &[], Leave);
        check(|_| {}, &[html, ("content-encoding", "gzip")], Leave);
        check(|_| {}, &[html, ("Cache-Control", "public, No-Transform")], Leave);
        check(|_| {}, &[html, ("content-range", "bytes 0-1/2")], Leave);
        for status in [101, 204, 205, 206, 304] {
            check(|c| c.status = status, &[html], Leave);
        }
    }

    #[test]
    fn nothing_is_compressed_when_switched_off() {
        let off = config::Compression { enabled: false, ..(*compressor().settings).clone() };
        let candidate = Candidate {
            accept_encoding: Some(b"br"),
            is_head: false,
            status: 200,
            body_len: None,
            fields: &[(b"content-type", b"text/html")],
        };
        assert_eq!(Compressor::new(&off).decide(&candidate), Decision::Leave);
    }

    #[test]
    fn the_number_of_encoders_is_bounded() {
        let compressor = compressor();
        let candidate = Candidate {
            accept_encoding: Some(b"gzip"),
            is_head: false,
            status: 200,
            body_len: None,
            fields: &[(b"content-type", b"text/html")],
        };
        let mut encoders = Vec::new();
        while let Decision::Encode(encoding) = compressor.decide(&candidate) {
            encoders.push(compressor.encoder(encoding).unwrap());
        }
        assert_eq!(encoders.len(), ENCODERS_MAX);
        assert_eq!(compressor.decide(&candidate), Decision::Vary);
        encoders.pop().unwrap().finish().unwrap();
        assert_eq!(compressor.decide(&candidate), Decision::Encode(Encoding::Gzip));
    }

    #[test]
    fn the_head_is_rewritten() {
        for (name, value, expected) in [
            ("ETag", "\"abc\"", Rewrite::Weaken),
            ("etag", "W/\"abc\"", Rewrite::Keep),
            ("Content-Length", "12", Rewrite::Drop),
            ("accept-ranges", "bytes", Rewrite::Drop),
            ("content-md5", "x", Rewrite::Drop),
            ("digest", "x", Rewrite::Drop),
            ("repr-digest", "x", Rewrite::Drop),
            ("content-digest", "x", Rewrite::Drop),
            ("content-encoding", "identity", Rewrite::Drop),
            ("content-type", "text/html", Rewrite::Keep),
            ("vary", "origin", Rewrite::Keep),
        ] {
            assert_eq!(Rewrite::of(name.as_bytes(), value.as_bytes()), expected, "{name}");
        }
        assert_eq!(Rewrite::added(Encoding::Zstd), [("content-encoding", "zstd"), ("vary", "accept-encoding")]);
    }

    /// A decoder that shows what has come out so far.
    enum Decoder {
        Brotli(Box<brotli::DecompressorWriter<Vec<u8>>>),
        Zstd(Box<zstd::stream::write::Decoder<'static, Vec<u8>>>),
        Gzip(Box<flate2::write::GzDecoder<Vec<u8>>>),
    }

    impl Decoder {
        fn new(encoding: Encoding) -> Decoder {
            match encoding {
                Encoding::Brotli => Decoder::Brotli(Box::new(brotli::DecompressorWriter::new(Vec::new(), 4096))),
                Encoding::Zstd => Decoder::Zstd(Box::new(zstd::stream::write::Decoder::new(Vec::new()).unwrap())),
                Encoding::Gzip => Decoder::Gzip(Box::new(flate2::write::GzDecoder::new(Vec::new()))),
            }
        }

        fn decoded(&mut self, input: &[u8]) -> &[u8] {
            match self {
                Decoder::Brotli(decoder) => {
                    decoder.write_all(input).unwrap();
                    decoder.flush().unwrap();
                    decoder.get_ref()
                }
                Decoder::Zstd(decoder) => {
                    decoder.write_all(input).unwrap();
                    decoder.flush().unwrap();
                    decoder.get_ref()
                }
                Decoder::Gzip(decoder) => {
                    decoder.write_all(input).unwrap();
                    decoder.flush().unwrap();
                    decoder.get_ref()
                }
            }
        }
    }

    #[test]
    fn what_is_flushed_arrives_at_once() {
        for encoding in ALL {
            let mut encoder = compressor().encoder(encoding).unwrap();
            let mut decoder = Decoder::new(encoding);
            let mut sent = Vec::new();
            for n in 0..50 {
                let event = format!("data: event number {n}\n\n");
                sent.extend_from_slice(event.as_bytes());
                let out = encoder.push(event.as_bytes(), true).unwrap();
                assert_eq!(decoder.decoded(&out), sent, "{encoding:?} after {n}");
            }
            let out = encoder.finish().unwrap();
            assert_eq!(decoder.decoded(&out), sent);
        }
    }

    #[test]
    fn text_becomes_smaller() {
        let text = "All work and no play makes Jack a dull boy. ".repeat(2000);
        for encoding in ALL {
            let mut encoder = compressor().encoder(encoding).unwrap();
            let first = encoder.push(text.as_bytes(), false).unwrap().len();
            let total = first + encoder.finish().unwrap().len();
            assert!(total < text.len() / 50, "{encoding:?}: {total}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn any_pieces_come_back(
            pieces in proptest::collection::vec(
                (proptest::collection::vec(any::<u8>(), 0..3000), any::<bool>()), 0..8),
            which in 0_usize..3,
        ) {
            let mut encoder = compressor().encoder(ALL[which]).unwrap();
            let (mut sent, mut packed) = (Vec::new(), Vec::new());
            for (piece, flush) in &pieces {
                sent.extend_from_slice(piece);
                packed.extend_from_slice(&encoder.push(piece, *flush).unwrap());
            }
            packed.extend_from_slice(&encoder.finish().unwrap());
            let mut decoder = Decoder::new(ALL[which]);
            prop_assert_eq!(decoder.decoded(&packed), &sent[..]);
        }
    }
}
