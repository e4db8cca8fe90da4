//! The control link: what a worker says about itself, and what it is told.

use serde::Deserialize;
use tokio::io::AsyncReadExt;
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use wire::{HEADER_LEN, Kind, PAYLOAD_MAX};

use link::WorkerId;

use crate::machine::Failure;

/// Longest text that is kept of what a worker reports, in bytes.
const TEXT_BYTES_MAX: usize = 64 * 1024;
/// Notes that are kept of READY.
const NOTES_MAX: usize = 16;

/// What is heard of a worker: on its control link, and from the kernel about its process. One queue carries both, so
/// that what a worker said before it died is heard before its death.
#[derive(Debug)]
pub(crate) enum Heard {
    Ready(Ready),
    Failed(Failure),
    Pong,
    Violation(String),
    /// The control link is over.
    Closed,
    /// The process has exited.
    Exited,
    /// What a process that has exited left behind has been read.
    Settled,
}

/// The payload of READY.
#[derive(Debug, Deserialize)]
pub(crate) struct Ready {
    pub kind: String,
    #[serde(default)]
    pub notes: Vec<String>,
}

#[derive(Deserialize)]
struct Failed {
    error: String,
    #[serde(default)]
    stack: String,
    #[serde(default)]
    hint: String,
}

/// The half that tells.
#[derive(Debug)]
pub(crate) struct Control {
    write: OwnedWriteHalf,
    listener: Option<JoinHandle<()>>,
    pings: u64,
}

impl Control {
    /// Takes the link over: what the worker says arrives at `heard`, and [`Heard::Closed`] or
    /// [`Heard::Violation`] last.
    pub fn open(stream: UnixStream, worker: WorkerId, heard: mpsc::Sender<(WorkerId, Heard)>) -> Control {
        let (read, write) = stream.into_split();
        let listener = tokio::task::spawn_local(listen(read, worker, heard));
        Control { write, listener: Some(listener), pings: 0 }
    }

    /// The task that listens: it ends when everything the worker has said is in the queue.
    pub fn take_listener(&mut self) -> Option<JoinHandle<()>> {
        self.listener.take()
    }

    /// Sends DRAIN; false when the worker cannot be told.
    #[must_use]
    pub fn drain(&self) -> bool {
        self.send(Kind::Drain, &[])
    }

    /// Sends PING; one that finds no room counts as unanswered.
    pub fn ping(&mut self) {
        self.pings += 1;
        self.send(Kind::Ping, &self.pings.to_le_bytes());
    }

    /// The frames are tiny and there are few on the way at once, so they fit into the socket's buffer; a worker that
    /// has let it fill up does not read.
    fn send(&self, kind: Kind, payload: &[u8]) -> bool {
        let mut frame = Vec::with_capacity(HEADER_LEN + payload.len());
        wire::put_frame(&mut frame, kind, 0, 0, 0, payload);
        self.write.try_write(&frame).is_ok_and(|written| written == frame.len())
    }
}

async fn listen(mut read: OwnedReadHalf, worker: WorkerId, heard: mpsc::Sender<(WorkerId, Heard)>) {
    let mut buffer = Vec::with_capacity(1024);
    loop {
        loop {
            let (message, length) = match wire::decode_frame(&buffer) {
                Ok(None) => break,
                Ok(Some(frame)) => (understand(&frame), frame.encoded_len()),
                Err(error) => (Err(error.to_string()), 0),
            };
            let over = message.is_err();
            let message = message.unwrap_or_else(Heard::Violation);
            // A full channel makes a talkative worker wait; a closed one means that the supervisor is gone.
            if heard.send((worker, message)).await.is_err() || over {
                return;
            }
            buffer.drain(..length);
        }
        if buffer.len() >= HEADER_LEN + PAYLOAD_MAX {
            let _ = heard.send((worker, Heard::Violation("a frame without end".to_owned()))).await;
            return;
        }
        match read.read_buf(&mut buffer).await {
            Ok(1..) => {}
            Ok(0) | Err(_) => {
                let _ = heard.send((worker, Heard::Closed)).await;
                return;
            }
        }
    }
}

fn understand(frame: &wire::Frame<'_>) -> Result<Heard, String> {
    if frame.stream != 0 {
        return Err(format!("{:?} on stream {} of the control link", frame.kind, frame.stream));
    }
    match frame.kind {
        Kind::Ready => {
            let mut ready: Ready = serde_json::from_slice(frame.payload).map_err(|e| format!("READY cannot be read: {e}"))?;
            cut(&mut ready.kind, 64);
            ready.notes.truncate(NOTES_MAX);
            ready.notes.iter_mut().for_each(|note| cut(note, 1024));
            Ok(Heard::Ready(ready))
        }
        Kind::Failed => {
            let mut failed: Failed = serde_json::from_slice(frame.payload).map_err(|e| format!("FAILED cannot be read: {e}"))?;
            for text in [&mut failed.error, &mut failed.stack, &mut failed.hint] {
                cut(text, TEXT_BYTES_MAX);
            }
            Ok(Heard::Failed(Failure { error: failed.error, stack: failed.stack, hint: failed.hint }))
        }
        Kind::Pong => Ok(Heard::Pong),
        other => Err(format!("{other:?} on the control link")),
    }
}

fn cut(text: &mut String, bytes_max: usize) {
    text.truncate(text.floor_char_boundary(bytes_max));
}
