//! The content of an answer, and how it reaches a socket.
//!
//! Reading from a file may wait for a disk, which would hold up every connection of the thread. So each read
//! first asks for what the kernel holds in memory (RWF_NOWAIT); only what is missing is read on a blocking
//! thread, of which there are [`BLOCKING_MAX`] at most in the process.

use bytes::Bytes;
use rustix::io::{Errno, ReadWriteFlags, preadv2};
use rustix::net::SendFlags;
use std::fs::File;
use std::io::{self, ErrorKind, IoSliceMut};
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;

/// Most threads that wait for a disk at the same time; further readers wait for one of them. Enough to keep
/// a disk's queue busy, few enough to cost no memory.
pub const BLOCKING_MAX: usize = 16;

/// Bytes given to one `sendfile` call: the socket's buffer takes less in most cases, and other connections
/// get their turn between two calls.
const SENDFILE_LEN: usize = 256 * 1024;

static BLOCKING: Semaphore = Semaphore::const_new(BLOCKING_MAX);

/// Runs what may wait for a disk away from the front thread.
pub(super) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
    // The semaphore is never closed.
    let _permit = BLOCKING.acquire().await.map_err(io::Error::other)?;
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)
}

/// What is sent after the head.
#[derive(Clone, Debug, Default)]
pub enum Body {
    /// Nothing.
    #[default]
    Empty,
    /// From memory.
    Bytes(Bytes),
    /// One after the other.
    Segments(Vec<Segment>),
}

/// A stretch of a body.
#[derive(Clone, Debug)]
pub enum Segment {
    /// From memory.
    Bytes(Bytes),
    /// From a file.
    File {
        /// The open file; its own position is not used.
        file: Arc<File>,
        /// First byte.
        offset: u64,
        /// How many bytes.
        len: u64,
    },
}

impl Segment {
    fn len(&self) -> u64 {
        match self {
            Segment::Bytes(bytes) => bytes.len() as u64,
            Segment::File { len, .. } => *len,
        }
    }
}

impl Body {
    /// How many bytes it has.
    pub fn len(&self) -> u64 {
        match self {
            Body::Empty => 0,
            Body::Bytes(bytes) => bytes.len() as u64,
            Body::Segments(segments) => segments.iter().map(Segment::len).sum(),
        }
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// For sockets that need the bytes in memory: TLS and HTTP/2.
    pub fn into_reader(self) -> Reader {
        let segments = match self {
            Body::Empty => Vec::new(),
            Body::Bytes(bytes) => vec![Segment::Bytes(bytes)],
            Body::Segments(segments) => segments,
        };
        Reader { segments: segments.into_iter(), current: None }
    }

    /// Writes `head` and the body to a plain TCP socket; files go through `sendfile`. `idle` is the longest
    /// time without the client taking a byte.
    ///
    /// # Errors
    /// Those of the socket and the file; `TimedOut` after `idle`; `UnexpectedEof` when the file has become
    /// shorter. After an error the connection can't be used again: part of the message may have left.
    pub async fn send(self, socket: &TcpStream, head: &[u8], idle: Duration) -> io::Result<()> {
        match self {
            Body::Empty => send_bytes(socket, head, false, idle).await,
            Body::Bytes(bytes) => {
                send_bytes(socket, head, !bytes.is_empty(), idle).await?;
                send_bytes(socket, &bytes, false, idle).await
            }
            Body::Segments(segments) => {
                send_bytes(socket, head, !segments.is_empty(), idle).await?;
                let last = segments.len().saturating_sub(1);
                for (index, segment) in segments.into_iter().enumerate() {
                    match segment {
                        Segment::Bytes(bytes) => send_bytes(socket, &bytes, index < last, idle).await?,
                        Segment::File { file, offset, len } => {
                            send_file(socket, &file, offset, len, idle).await?;
                        }
                    }
                }
                Ok(())
            }
        }
    }
}

/// Reads a body piece by piece.
#[derive(Debug)]
pub struct Reader {
    segments: std::vec::IntoIter<Segment>,
    current: Option<Segment>,
}

impl Reader {
    /// The next piece, of 1 to `max` bytes; `None` at the end.
    ///
    /// # Errors
    /// Those of reading the file; `UnexpectedEof` when it has become shorter.
    pub async fn next(&mut self, max: usize) -> io::Result<Option<Bytes>> {
        let max = max.max(1);
        loop {
            let Some(segment) = self.current.as_mut() else {
                match self.segments.next() {
                    Some(segment) => self.current = Some(segment),
                    None => return Ok(None),
                }
                continue;
            };
            match segment {
                Segment::Bytes(bytes) if !bytes.is_empty() => {
                    return Ok(Some(bytes.split_to(bytes.len().min(max))));
                }
                Segment::File { file, offset, len } if *len > 0 => {
                    // At most `max`, which is a usize.
                    let wanted = (*len).min(max as u64) as usize;
                    let piece = read(file, *offset, wanted).await?;
                    *offset += piece.len() as u64;
                    *len -= piece.len() as u64;
                    return Ok(Some(piece));
                }
                _ => self.current = None,
            }
        }
    }
}

/// Reads 1 to `wanted` bytes, from memory where the kernel has them there.
async fn read(file: &Arc<File>, offset: u64, wanted: usize) -> io::Result<Bytes> {
    let mut buffer = vec![0; wanted];
    let read = match read_cached(file, offset, &mut buffer)? {
        Some(read) => read,
        None => {
            let file = file.clone();
            let (result, returned) = blocking(move || (file.read_at(&mut buffer, offset), buffer)).await?;
            buffer = returned;
            result?
        }
    };
    if read == 0 && wanted > 0 {
        return Err(shorter());
    }
    buffer.truncate(read);
    Ok(buffer.into())
}

/// Reads what the kernel holds in memory; `None` when it would have to wait for a disk, or can't tell.
pub(super) fn read_cached(file: &File, offset: u64, buffer: &mut [u8]) -> io::Result<Option<usize>> {
    match preadv2(file, &mut [IoSliceMut::new(buffer)], offset, ReadWriteFlags::NOWAIT) {
        Ok(read) => Ok(Some(read)),
        Err(Errno::AGAIN | Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL | Errno::INTR) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Sends a stretch of a file to a plain TCP socket without copying it through our memory.
///
/// # Errors
/// As for [`Body::send`].
pub async fn send_file(socket: &TcpStream, file: &Arc<File>, mut offset: u64, mut len: u64, idle: Duration) -> io::Result<()> {
    while len > 0 {
        let wanted = len.min(SENDFILE_LEN as u64) as usize;
        if read_cached(file, offset, &mut [0])?.is_none() {
            warm_up(file, offset, wanted).await?;
        }
        let mut part_left = wanted;
        while part_left > 0 {
            let sent =
                when_writable(socket, idle, || Ok(rustix::fs::sendfile(socket, &**file, Some(&mut offset), part_left)?)).await?;
            if sent == 0 {
                return Err(shorter());
            }
            part_left -= sent.min(part_left);
        }
        len -= wanted as u64;
    }
    Ok(())
}

/// Brings a stretch of the file into the kernel's memory, so that `sendfile` does not wait.
async fn warm_up(file: &Arc<File>, offset: u64, len: usize) -> io::Result<()> {
    let file = file.clone();
    blocking(move || {
        let mut scratch = vec![0; 64 * 1024];
        let mut at = 0;
        while at < len {
            match file.read_at(&mut scratch, offset + at as u64) {
                // A real error shows again, and is reported, when the bytes are sent.
                Ok(0) | Err(_) => break,
                Ok(read) => at += read,
            }
        }
    })
    .await
}

/// Sends bytes; with `more` the kernel waits for what follows before it fills a segment.
async fn send_bytes(socket: &TcpStream, mut bytes: &[u8], more: bool, idle: Duration) -> io::Result<()> {
    let flags = if more { SendFlags::MORE | SendFlags::NOSIGNAL } else { SendFlags::NOSIGNAL };
    while !bytes.is_empty() {
        let sent = when_writable(socket, idle, || Ok(rustix::net::send(socket, bytes, flags | SendFlags::DONTWAIT)?)).await?;
        bytes = &bytes[sent.min(bytes.len())..];
    }
    Ok(())
}

async fn when_writable(
    socket: &TcpStream,
    idle: Duration,
    mut operation: impl FnMut() -> io::Result<usize>,
) -> io::Result<usize> {
    loop {
        match socket.try_io(Interest::WRITABLE, &mut operation) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                tokio::time::timeout(idle, socket.writable())
                    .await
                    .map_err(|_| io::Error::new(ErrorKind::TimedOut, "the client stopped reading"))??;
            }
            result => {
                // A client that reads as fast as we write must not keep the thread to itself.
                tokio::task::consume_budget().await;
                return result;
            }
        }
    }
}

fn shorter() -> io::Error {
    io::Error::new(ErrorKind::UnexpectedEof, "the file became shorter while it was being sent")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use tokio::io::AsyncReadExt;
    use tokio::net::TcpListener;

    const IDLE: Duration = Duration::from_secs(20);

    fn file_of(content: &[u8]) -> Arc<File> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(content).unwrap();
        Arc::new(file)
    }

    fn content(len: usize) -> Vec<u8> {
        (0..len).map(|n| (n % 251) as u8).collect()
    }

    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (listener.accept().await.unwrap().0, client)
    }

    fn mixed(content: &[u8]) -> Body {
        let file = file_of(content);
        Body::Segments(vec![
            Segment::Bytes(Bytes::from_static(b"<")),
            Segment::File { file: file.clone(), offset: 10, len: content.len() as u64 - 10 },
            Segment::Bytes(Bytes::new()),
            Segment::File { file, offset: 0, len: 3 },
            Segment::Bytes(Bytes::from_static(b">")),
        ])
    }

    fn expected(content: &[u8]) -> Vec<u8> {
        [b"<", &content[10..], &content[..3], b">"].concat()
    }

    #[tokio::test]
    async fn a_socket_gets_head_and_every_segment() {
        let content = content(3_000_000);
        let (server, mut client) = pair().await;
        let reading = tokio::spawn(async move {
            let mut got = Vec::new();
            client.read_to_end(&mut got).await.map(|_| got)
        });
        let body = mixed(&content);
        assert_eq!(body.len(), expected(&content).len() as u64);
        body.send(&server, b"head", IDLE).await.unwrap();
        Body::Bytes(Bytes::from_static(b"tail")).send(&server, b"|", IDLE).await.unwrap();
        Body::Empty.send(&server, b".", IDLE).await.unwrap();
        drop(server);
        let got = reading.await.unwrap().unwrap();
        assert!(got == [b"head", &expected(&content)[..], b"|tail."].concat());
    }

    #[tokio::test]
    async fn a_reader_gives_pieces_of_bounded_length() {
        let content = content(200_000);
        let mut reader = mixed(&content).into_reader();
        let mut got = Vec::new();
        while let Some(piece) = reader.next(16_384).await.unwrap() {
            assert!((1..=16_384).contains(&piece.len()));
            got.extend_from_slice(&piece);
        }
        assert!(got == expected(&content));
        assert!(Body::Empty.into_reader().next(10).await.unwrap().is_none());
    }

    #[tokio::test]
    async fn a_file_that_shrinks_is_an_error_not_a_short_answer() {
        let file = file_of(b"12345");
        let body = Body::Segments(vec![Segment::File { file, offset: 0, len: 10 }]);
        let (server, mut client) = pair().await;
        let error = body.clone().send(&server, b"", IDLE).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
        drop(server);
        let mut got = Vec::new();
        client.read_to_end(&mut got).await.unwrap();
        assert_eq!(got, b"12345");

        let mut reader = body.into_reader();
        assert_eq!(reader.next(100).await.unwrap().unwrap(), &b"12345"[..]);
        assert_eq!(reader.next(100).await.unwrap_err().kind(), ErrorKind::UnexpectedEof);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_does_not_read_is_given_up() {
        let (server, _client) = pair().await;
        let file = file_of(&content(1_000_000));
        let body = Body::Segments(vec![Segment::File { file, offset: 0, len: 1_000_000 }; 64]);
        let error = body.send(&server, b"", IDLE).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
    }
}
