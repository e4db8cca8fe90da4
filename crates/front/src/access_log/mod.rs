//! One record a request, off the hot path.
//!
//! A front thread copies a record's raw bytes into its own buffer, which goes to the one writer thread when
//! it is full or a quarter of a second old; formatting and writing happen there. `access_log` knows no HTTP:
//! it writes down what it is told.
//!
//! Every queue is bounded: [`config::AccessLog::buffer_bytes_max`] bytes of records may wait for the writer,
//! over all threads. Beyond that records are dropped and counted (the count goes to the log), or the front
//! thread waits, as the settings say.

mod format;
mod record;
mod writer;

pub use record::{FIELD_LEN_MAX, Record, Version};

use config::{AccessFormat, WhenFull};
use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::Duration;
use tokio::sync::Notify;
use writer::{Message, Sink, Writer};

/// Bytes after which a thread hands its records over: some 150 records, so that the hand-over's cost
/// vanishes, and few enough that a batch fits the processor's cache.
const BATCH_LEN: usize = 32 * 1024;
/// Longest time that a record waits in its thread's buffer.
const FLUSH_AFTER: Duration = Duration::from_millis(250);

/// The access log of one server: starts the writer, and makes the threads' ends.
#[derive(Debug)]
pub struct AccessLog {
    sender: SyncSender<Message>,
    when_full: WhenFull,
    dropped: Arc<AtomicU64>,
    reopen: Arc<AtomicBool>,
    finished: Receiver<()>,
}

impl AccessLog {
    /// Opens the target and starts the writer; `None` when the access log is off.
    ///
    /// # Errors
    /// When the file can't be opened or the thread not started; the message names the file.
    pub fn start(settings: &config::AccessLog) -> io::Result<Option<AccessLog>> {
        if settings.format == AccessFormat::Off {
            return Ok(None);
        }
        let sink = Sink::open(settings.path.as_deref())?;
        // Two at least: one being written, one waiting.
        let batches = (settings.buffer_bytes_max / BATCH_LEN).max(2);
        let (sender, receiver) = sync_channel(batches);
        let (done, finished) = sync_channel(1);
        let dropped = Arc::new(AtomicU64::new(0));
        let reopen = Arc::new(AtomicBool::new(false));
        let writer = Writer::new(sink, settings.format, dropped.clone(), reopen.clone());
        std::thread::Builder::new().name("access-log".into()).spawn(move || {
            writer.run(&receiver);
            // Nobody listens when the server has stopped waiting.
            let _ = done.send(());
        })?;
        Ok(Some(AccessLog { sender, when_full: settings.when_full, dropped, reopen, finished }))
    }

    /// The end of one front thread. It is made here and moved there.
    pub fn thread(&self) -> ThreadLogSeed {
        ThreadLogSeed { sender: self.sender.clone(), when_full: self.when_full, dropped: self.dropped.clone() }
    }

    /// Opens the file anew, after it was renamed (logrotate). Records handed over before go to the old one.
    pub fn reopen(&self) {
        // Never waits: with a full queue, the writer is told beside it, and some records that were handed over
        // before go to the new file.
        if self.sender.try_send(Message::Reopen).is_err() {
            self.reopen.store(true, Ordering::Relaxed);
        }
    }

    /// Records dropped and not yet reported to the log.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Waits until everything is written: all threads' ends must be gone. `false` when that took longer than
    /// `deadline`.
    pub fn close(self, deadline: Duration) -> bool {
        let AccessLog { sender, finished, .. } = self;
        drop(sender);
        finished.recv_timeout(deadline).is_ok()
    }
}

/// A thread's end before it has reached its thread.
#[derive(Debug)]
pub struct ThreadLogSeed {
    sender: SyncSender<Message>,
    when_full: WhenFull,
    dropped: Arc<AtomicU64>,
}

impl ThreadLogSeed {
    /// Call on the front thread itself; spawn [`ThreadLog::keep_flushing`] there too.
    pub fn plant(self) -> ThreadLog {
        let buffer = RefCell::new(Buffer { bytes: Vec::new(), records: 0 });
        ThreadLog { inner: Rc::new(Inner { seed: self, buffer, started: Notify::new() }) }
    }
}

/// Where the connections of one thread leave their records. Clones share one buffer.
#[derive(Clone, Debug)]
pub struct ThreadLog {
    inner: Rc<Inner>,
}

#[derive(Debug)]
struct Inner {
    seed: ThreadLogSeed,
    buffer: RefCell<Buffer>,
    /// Tells the flusher that the buffer has its first record.
    started: Notify,
}

#[derive(Debug)]
struct Buffer {
    bytes: Vec<u8>,
    records: u64,
}

impl ThreadLog {
    /// Notes one request. Costs a few copies into memory, except once in a batch.
    #[inline]
    pub fn record(&self, record: &Record<'_>) {
        let mut buffer = self.inner.buffer.borrow_mut();
        record.encode(&mut buffer.bytes);
        buffer.records += 1;
        if buffer.records == 1 {
            self.inner.started.notify_one();
        } else if buffer.bytes.len() >= BATCH_LEN {
            self.inner.seed.hand_over(&mut buffer);
        }
    }

    /// Hands over what has gathered.
    pub fn flush(&self) {
        self.inner.seed.hand_over(&mut self.inner.buffer.borrow_mut());
    }

    /// Hands records over before they are older than a quarter of a second. Sleeps without a timer while
    /// there are none. Never returns: a task to be aborted, or dropped with its runtime.
    pub async fn keep_flushing(self) {
        loop {
            self.inner.started.notified().await;
            tokio::time::sleep(FLUSH_AFTER).await;
            self.flush();
        }
    }
}

impl ThreadLogSeed {
    fn hand_over(&self, buffer: &mut Buffer) {
        if buffer.records == 0 {
            return;
        }
        let capacity = BATCH_LEN + BATCH_LEN / 8;
        let bytes = std::mem::replace(&mut buffer.bytes, Vec::with_capacity(capacity));
        let records = std::mem::take(&mut buffer.records);
        let batch = Message::Batch { bytes, records };
        let refused = match self.when_full {
            WhenFull::Block => self.sender.send(batch).is_err(),
            WhenFull::Drop => match self.sender.try_send(batch) {
                Ok(()) => false,
                Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => true,
            },
        };
        if refused {
            self.dropped.fetch_add(records, Ordering::Relaxed);
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.seed.hand_over(&mut self.buffer.borrow_mut());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::os::unix::fs::OpenOptionsExt;

    const PATIENCE: Duration = Duration::from_secs(20);

    fn settings(path: &std::path::Path, when_full: WhenFull) -> config::AccessLog {
        config::AccessLog { format: AccessFormat::Json, path: Some(path.to_owned()), when_full, buffer_bytes_max: 2 * BATCH_LEN }
    }

    fn record(target: &str) -> Record<'_> {
        Record { target: target.as_bytes(), ..record::sample() }
    }

    #[test]
    fn off_is_off() {
        let mut settings = settings(std::path::Path::new("/nonexistent/x"), WhenFull::Drop);
        settings.format = AccessFormat::Off;
        assert!(AccessLog::start(&settings).unwrap().is_none());
    }

    #[test]
    fn a_file_that_cannot_be_opened_is_named() {
        let path = std::path::Path::new("/nonexistent/folder/access.log");
        let error = AccessLog::start(&settings(path, WhenFull::Drop)).unwrap_err();
        assert!(error.to_string().contains("/nonexistent/folder/access.log"), "{error}");
    }

    #[test]
    fn every_record_of_every_thread_is_written_when_blocking() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("access.log");
        let log = AccessLog::start(&settings(&path, WhenFull::Block)).unwrap().unwrap();
        std::thread::scope(|scope| {
            for thread in 0..3 {
                let seed = log.thread();
                scope.spawn(move || {
                    let log = seed.plant();
                    for n in 0..5000 {
                        log.record(&record(&format!("/{thread}/{n}")));
                    }
                });
            }
        });
        assert!(log.close(PATIENCE));
        let text = std::fs::read_to_string(&path).unwrap();
        let mut targets: Vec<String> =
            text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["target"].to_string()).collect();
        targets.sort();
        targets.dedup();
        assert_eq!(targets.len(), 15_000);
    }

    #[test]
    fn records_that_find_no_room_are_dropped_and_counted() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("fifo");
        rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
        // A reader that does not read yet: the writer blocks as soon as the pipe is full.
        let nonblocking = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).unwrap();
        let mut reader = std::fs::OpenOptions::new().read(true).custom_flags(nonblocking).open(&path).unwrap();
        let log = AccessLog::start(&settings(&path, WhenFull::Drop)).unwrap().unwrap();
        let thread = log.thread().plant();
        let mut sent = 0_u64;
        while log.dropped() == 0 {
            thread.record(&record("/x"));
            sent += 1;
            assert!(sent < 1_000_000, "nothing was dropped");
        }
        drop(thread);
        let dropped = log.dropped();
        assert!(dropped > 0 && dropped < sent);

        rustix::fs::fcntl_setfl(&reader, rustix::fs::OFlags::empty()).unwrap();
        let reading = std::thread::spawn(move || {
            let mut text = String::new();
            reader.read_to_string(&mut text).map(|_| text.lines().count() as u64).unwrap()
        });
        assert!(log.close(PATIENCE));
        let written = reading.join().unwrap();
        assert!(written < sent && written >= sent - dropped - 400, "{written} of {sent}, {dropped} dropped");
    }

    #[test]
    fn reopen_follows_a_rotated_file() {
        let folder = tempfile::tempdir().unwrap();
        let (path, rotated) = (folder.path().join("access.log"), folder.path().join("access.log.1"));
        let log = AccessLog::start(&settings(&path, WhenFull::Block)).unwrap().unwrap();
        let thread = log.thread().plant();
        thread.record(&record("/before"));
        thread.flush();
        std::fs::rename(&path, &rotated).unwrap();
        log.reopen();
        thread.record(&record("/after"));
        drop(thread);
        assert!(log.close(PATIENCE));
        assert!(std::fs::read_to_string(&rotated).unwrap().contains("/before"));
        let after = std::fs::read_to_string(&path).unwrap();
        assert!(after.contains("/after") && !after.contains("/before"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_lonely_record_is_handed_over_by_time() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("access.log");
        let log = AccessLog::start(&settings(&path, WhenFull::Block)).unwrap().unwrap();
        let thread = log.thread().plant();
        let inner = thread.inner.clone();
        let records = move || inner.buffer.borrow().records;
        tokio::task::LocalSet::new()
            .run_until(async move {
                let flusher = tokio::task::spawn_local(thread.clone().keep_flushing());
                for _ in 0..2 {
                    thread.record(&record("/x"));
                    assert_eq!(records(), 1);
                    tokio::time::sleep(FLUSH_AFTER + Duration::from_millis(1)).await;
                    assert_eq!(records(), 0);
                }
                flusher.abort();
            })
            .await;
        assert!(log.close(PATIENCE));
        assert_eq!(std::fs::read_to_string(&path).unwrap().lines().count(), 2);
    }
}
