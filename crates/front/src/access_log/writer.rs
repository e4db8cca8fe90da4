//! The thread that formats records and writes them.

use super::{format, record};
use config::AccessFormat;
use rustix::event::{PollFd, PollFlags, poll};
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError};
use std::time::{Duration, Instant};

/// Shortest time between two complaints about lost records.
const REPORT_INTERVAL: Duration = Duration::from_secs(10);
/// Formatted bytes after which they are written even though more records are waiting.
const WRITE_LEN: usize = 256 * 1024;

/// What front threads send.
#[derive(Debug)]
pub(super) enum Message {
    /// Records in raw form.
    Batch { bytes: Vec<u8>, records: u64 },
    /// Open the file anew.
    Reopen,
}

/// Where lines go.
#[derive(Debug)]
pub(super) enum Sink {
    Stdout,
    File { path: PathBuf, file: File },
}

impl Sink {
    pub fn open(path: Option<&Path>) -> io::Result<Sink> {
        let Some(path) = path else { return Ok(Sink::Stdout) };
        // Addresses and targets concern people: nobody but owner and group reads them.
        let file =
            OpenOptions::new().append(true).create(true).mode(0o640).open(path).map_err(|error| {
                io::Error::new(error.kind(), format!("cannot open the access log {}: {error}", path.display()))
            })?;
        Ok(Sink::File { path: path.to_owned(), file })
    }

    fn reopen(&mut self) -> io::Result<()> {
        if let Sink::File { path, .. } = self {
            *self = Sink::open(Some(path))?;
        }
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Sink::Stdout => {
                let mut stdout = io::stdout().lock();
                write_patiently(&mut stdout, bytes)?;
                stdout.flush()
            }
            Sink::File { file, .. } => write_patiently(file, bytes),
        }
    }
}

/// `write_all` that waits where the target does not block: another process that shares our terminal or pipe
/// may have made it so.
fn write_patiently(target: &mut (impl Write + AsFd), mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match target.write(bytes) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(written) => bytes = &bytes[written..],
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => match poll(&mut [PollFd::new(target, PollFlags::OUT)], None) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            },
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

pub(super) struct Writer {
    sink: Sink,
    format: AccessFormat,
    dropped: Arc<AtomicU64>,
    /// Asked to open the file anew while the queue was full.
    reopen: Arc<AtomicBool>,
    lines: Vec<u8>,
    /// Records in `lines`.
    pending: u64,
    /// Records lost in writing, and why, since the last complaint.
    lost: u64,
    cause: Option<io::Error>,
    reported: Option<Instant>,
}

impl Writer {
    pub fn new(sink: Sink, format: AccessFormat, dropped: Arc<AtomicU64>, reopen: Arc<AtomicBool>) -> Writer {
        let (lines, pending, lost) = (Vec::new(), 0, 0);
        Writer { sink, format, dropped, reopen, lines, pending, lost, cause: None, reported: None }
    }

    /// Writes until every sender is gone.
    pub fn run(mut self, receiver: &Receiver<Message>) {
        loop {
            // Everything that waits goes out in one write, before we sleep.
            match receiver.try_recv() {
                Ok(message) => {
                    self.take(message);
                    if self.lines.len() < WRITE_LEN {
                        continue;
                    }
                }
                Err(TryRecvError::Empty | TryRecvError::Disconnected) => {}
            }
            self.write();
            self.report(REPORT_INTERVAL);
            let received = if self.losses() > 0 {
                receiver.recv_timeout(REPORT_INTERVAL)
            } else {
                receiver.recv().map_err(|_| RecvTimeoutError::Disconnected)
            };
            match received {
                Ok(message) => self.take(message),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        self.write();
        self.report(Duration::ZERO);
    }

    fn take(&mut self, message: Message) {
        if self.reopen.swap(false, Ordering::Relaxed) {
            self.open_anew();
        }
        match message {
            Message::Batch { bytes, records } => {
                let mut rest = &bytes[..];
                while let Some(decoded) = record::decode(&mut rest) {
                    format::line(self.format, &decoded, &mut self.lines);
                }
                self.pending += records;
            }
            Message::Reopen => self.open_anew(),
        }
    }

    fn open_anew(&mut self) {
        self.write();
        if let Err(error) = self.sink.reopen() {
            tracing::warn!(%error, "the access log stays with the old file");
        }
    }

    fn write(&mut self) {
        if self.lines.is_empty() {
            return;
        }
        if let Err(error) = self.sink.write(&self.lines) {
            self.lost += self.pending;
            self.cause = Some(error);
        }
        self.lines.clear();
        self.pending = 0;
        // A burst's memory is given back.
        self.lines.shrink_to(2 * WRITE_LEN);
    }

    fn losses(&self) -> u64 {
        self.lost + self.dropped.load(Ordering::Relaxed)
    }

    fn report(&mut self, interval: Duration) {
        if self.losses() == 0 || self.reported.is_some_and(|at| at.elapsed() < interval) {
            return;
        }
        let dropped = self.dropped.swap(0, Ordering::Relaxed);
        if dropped > 0 {
            tracing::warn!(
                dropped,
                "the access log could not keep up; records were dropped (raise access_log.buffer_bytes_max, \
                 or write to a faster target)"
            );
        }
        if self.lost > 0 {
            let cause = self.cause.take().map(|error| error.to_string()).unwrap_or_default();
            tracing::warn!(lost = self.lost, cause, "the access log could not be written");
        }
        self.lost = 0;
        self.reported = Some(Instant::now());
    }
}
