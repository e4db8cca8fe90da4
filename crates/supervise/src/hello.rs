//! Who is at the door: the socket that workers connect to, and the HELLO that each link begins with.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use tokio::io::AsyncReadExt;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc};
use wire::{HEADER_LEN, Kind, PROTOCOL_VERSION};

/// Longest payload of a HELLO, in bytes: a token, a few words and a version need a few hundred.
const HELLO_BYTES_MAX: usize = 4096;
/// Links that may be between connect and HELLO at once. Workers open theirs one after the other, so this
/// many workers can start in the same instant; further ones wait in the kernel's queue.
const GREETINGS_MAX: usize = 128;
/// Longest wait for the HELLO of a link that has connected: workers send it at once.
const HELLO_TIMEOUT: Duration = Duration::from_secs(10);

/// A link whose HELLO has been read. Nothing in it has been believed yet.
#[derive(Debug)]
pub(crate) struct Arrival {
    pub hello: Hello,
    pub stream: UnixStream,
}

/// The payload of HELLO.
#[derive(Debug, Deserialize)]
pub(crate) struct Hello {
    pub token: String,
    pub link: LinkName,
    #[serde(default)]
    pub version: String,
    /// Broker links: who it is, for the log.
    #[serde(default)]
    pub from: String,
}

/// Which link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub(crate) enum LinkName {
    Data(usize),
    Named(NamedLink),
}

/// A link that is not a data link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum NamedLink {
    Control,
    Broker,
}

/// Makes the socket.
pub(crate) fn listen(path: &Path) -> io::Result<UnixListener> {
    UnixListener::bind(path)
        .map_err(|e| io::Error::new(e.kind(), format!("cannot listen for workers on {}: {e}", path.display())))
}

/// Accepts links for ever and passes on those that greet properly.
pub(crate) async fn greet(listener: UnixListener, arrivals: mpsc::Sender<Arrival>) {
    let places = Arc::new(Semaphore::new(GREETINGS_MAX));
    while let Ok(place) = places.clone().acquire_owned().await {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Out of file descriptors, most likely: accepting again at once would only spin.
                tracing::error!("cannot accept a worker's link: {error}");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let arrivals = arrivals.clone();
        tokio::task::spawn_local(async move {
            let _place = place;
            match tokio::time::timeout(HELLO_TIMEOUT, read_hello(stream)).await {
                Ok(Ok(arrival)) => {
                    // The receiver is gone when the supervisor ends; so is the worker then.
                    let _ = arrivals.send(arrival).await;
                }
                Ok(Err(why)) => tracing::warn!("turned a link away: {why}"),
                Err(_) => tracing::warn!("turned a link away: no HELLO within {} s", HELLO_TIMEOUT.as_secs()),
            }
        });
    }
}

/// Reads exactly one frame: what follows it belongs to whoever gets the link.
async fn read_hello(mut stream: UnixStream) -> Result<Arrival, String> {
    let peer = stream.peer_cred().map_err(|e| format!("its credentials cannot be read: {e}"))?;
    let own = rustix::process::geteuid().as_raw();
    if peer.uid() != own {
        return Err(format!("it belongs to user {}, not to {own}", peer.uid()));
    }
    let mut bytes = vec![0; HEADER_LEN];
    stream.read_exact(&mut bytes).await.map_err(|e| format!("it ended before HELLO: {e}"))?;
    let length = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]) as usize;
    if length > HELLO_BYTES_MAX {
        return Err(format!("its first frame has {length} bytes; HELLO has at most {HELLO_BYTES_MAX}"));
    }
    bytes.resize(HEADER_LEN + length, 0);
    stream.read_exact(&mut bytes[HEADER_LEN..]).await.map_err(|e| format!("it ended within HELLO: {e}"))?;
    let frame = match wire::decode_frame(&bytes) {
        Ok(Some(frame)) => frame,
        Ok(None) => return Err("its first frame is incomplete".to_owned()),
        Err(error) => return Err(error.to_string()),
    };
    if frame.kind != Kind::Hello || frame.stream != 0 {
        return Err(format!("its first frame is {:?} on stream {}, not HELLO", frame.kind, frame.stream));
    }
    if frame.aux != PROTOCOL_VERSION {
        return Err(format!("it speaks version {} of the protocol, not {PROTOCOL_VERSION}", frame.aux));
    }
    let hello = serde_json::from_slice(frame.payload).map_err(|e| format!("its HELLO cannot be read: {e}"))?;
    Ok(Arrival { hello, stream })
}
