//! A response whose body is a file that the worker names: opened and read here, so that its bytes pass neither the application
//! nor the link. To the connections it looks like any other response.
//!
//! The worker is the front's own user and could read the file itself, so that its choice of a path opens no door. What is opened must
//! be a regular file; what would wait for a disk is done on the threads that static files use.

use std::fs::File;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use link::Incoming;
use wire::{ResetCode, ResponseHead};

use crate::head::parse_content_length;
use crate::static_files::{Body, Reader, Segment, open_named};

/// Bytes that are read at once: a connection holds one piece beside what waits for its client.
const PIECE: usize = 64 * 1024;

type Later<T> = Pin<Box<dyn Future<Output = T>>>;

/// The events of such a response, one after the other.
pub struct FileResponse {
    status: u16,
    /// The head, without the path.
    head: Bytes,
    path: Arc<str>,
    left: u64,
    step: Step,
}

enum Step {
    Open(Later<io::Result<(File, u64)>>),
    Read(Later<io::Result<(Reader, Option<Bytes>)>>),
    Over,
}

impl FileResponse {
    /// `payload` is a RESPONSE's, with an absolute path in the body's place.
    pub fn new(status: u16, mut payload: Bytes) -> FileResponse {
        // The link has parsed it.
        let path = ResponseHead::parse(&payload).map_or(&b""[..], |head| head.body).to_vec();
        payload.truncate(payload.len() - path.len());
        FileResponse {
            status,
            head: payload,
            path: String::from_utf8_lossy(&path).into(),
            left: 0,
            step: Step::Open(Box::pin(open_named(path))),
        }
    }

    /// The response, then its body; a reset if the file is not what the response says.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Incoming> {
        match &mut self.step {
            Step::Open(opening) => {
                let opened = ready!(opening.as_mut().poll(cx));
                Poll::Ready(match opened {
                    Ok((file, size)) => self.begin(file, size),
                    Err(error) => self.fail(&error.to_string()),
                })
            }
            Step::Read(reading) => {
                let read = ready!(reading.as_mut().poll(cx));
                Poll::Ready(match read {
                    Ok((reader, Some(bytes))) => {
                        self.left -= bytes.len() as u64;
                        self.read_on(reader);
                        Incoming::Data { bytes, end: self.left == 0 }
                    }
                    Ok((_, None)) => self.fail("it ended early"),
                    Err(error) => self.fail(&error.to_string()),
                })
            }
            Step::Over => Poll::Pending,
        }
    }

    fn begin(&mut self, file: File, size: u64) -> Incoming {
        let announced = ResponseHead::parse(&self.head)
            .ok()
            .and_then(|head| head.fields.get("content-length").and_then(parse_content_length));
        // A log may have grown since the application looked.
        let len = announced.unwrap_or(size);
        if len > size {
            return self.fail(&format!("it holds {size} bytes, and content-length announces {len}"));
        }
        self.left = len;
        let segment = Segment::File { file: Arc::new(file), offset: 0, len };
        self.read_on(Body::Segments(vec![segment]).into_reader());
        Incoming::Response { status: self.status, payload: self.head.clone(), end: len == 0 }
    }

    fn read_on(&mut self, mut reader: Reader) {
        self.step = match self.left {
            0 => Step::Over,
            _ => Step::Read(Box::pin(async move {
                let piece = reader.next(PIECE).await?;
                Ok((reader, piece))
            })),
        };
    }

    fn fail(&mut self, why: &str) -> Incoming {
        self.step = Step::Over;
        Incoming::Reset { code: ResetCode::Protocol, text: format!("the file {} cannot be sent: {why}", self.path) }
    }
}

impl std::fmt::Debug for FileResponse {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FileResponse").field("path", &self.path).field("left", &self.left).finish_non_exhaustive()
    }
}
