//! From a listening socket to a connection that speaks some HTTP.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream, UnixListener};

use crate::dispatch::Peer;
use crate::forwarded;
use crate::http1::{Connection, Io, Outcome};
use crate::http2;
use crate::listen::Listener;
use crate::thread::Thread;
use crate::tls::Acceptor;

/// Pause after an accept that failed for want of resources, and between looks at a full server.
const ACCEPT_PAUSE: Duration = Duration::from_millis(20);

/// Accepts connections until the thread drains.
pub async fn accept(thread: Rc<Thread>, listener: Listener, tls: Option<Acceptor>) {
    let listener = match Socket::new(listener) {
        Ok(listener) => listener,
        Err(error) => {
            tracing::error!(%error, "a listening socket can't be used");
            return;
        }
    };
    let mut complained = false;
    while !thread.draining() {
        if thread.shared.connections.load(Ordering::Acquire) >= thread.active().settings.limits.connections_max {
            if !complained {
                tracing::warn!("limits.connections_max is reached; new connections wait in the kernel's queue");
                complained = true;
            }
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        }
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = thread.drained() => return,
        };
        match accepted {
            Ok(client) => {
                complained = false;
                let guard = Counted::new(&thread);
                let tls = tls.clone().filter(|_| matches!(client, Client::Tcp(..)));
                tokio::task::spawn_local(serve(thread.clone(), client, tls, guard));
            }
            Err(error) if is_per_connection(&error) => {}
            Err(error) => {
                if !complained {
                    tracing::warn!(%error, "a connection can't be accepted; trying again (raise the limit on open files?)");
                    complained = true;
                }
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

enum Socket {
    Tcp(TcpListener),
    Unix(UnixListener),
}

enum Client {
    Tcp(TcpStream, SocketAddr),
    Unix(tokio::net::UnixStream),
}

impl Socket {
    fn new(listener: Listener) -> std::io::Result<Socket> {
        Ok(match listener {
            Listener::Tcp(listener) => Socket::Tcp(TcpListener::from_std(listener)?),
            Listener::Unix(listener) => Socket::Unix(UnixListener::from_std(listener)?),
        })
    }

    async fn accept(&self) -> std::io::Result<Client> {
        match self {
            Socket::Tcp(listener) => listener.accept().await.map(|(stream, address)| Client::Tcp(stream, address)),
            Socket::Unix(listener) => listener.accept().await.map(|(stream, _)| Client::Unix(stream)),
        }
    }
}

/// The client gave up before it was accepted; the next accept may well succeed (accept(2), ERRORS).
fn is_per_connection(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}

/// Counts a connection as long as it lives.
struct Counted(Rc<Thread>);

impl Counted {
    fn new(thread: &Rc<Thread>) -> Counted {
        thread.shared.connections.fetch_add(1, Ordering::AcqRel);
        Counted(thread.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.shared.connections.fetch_sub(1, Ordering::AcqRel);
    }
}

async fn serve(thread: Rc<Thread>, client: Client, tls: Option<Acceptor>, _counted: Counted) {
    match client {
        Client::Tcp(stream, address) => {
            // Responses leave in as few writes as possible already; waiting for more would only add latency.
            let _ = stream.set_nodelay(true);
            let local = stream.local_addr().ok();
            let peer = peer(&thread, Some(address), local, tls.is_some());
            match tls {
                None => http(thread, stream, peer, false).await,
                Some(acceptor) => {
                    let timeout = thread.active().settings.timeouts.header;
                    match Box::pin(tokio::time::timeout(timeout, acceptor.accept(stream))).await {
                        Ok(Ok(stream)) => {
                            let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
                            Box::pin(http(thread, stream, peer, http2)).await;
                        }
                        Ok(Err(error)) => tracing::debug!(client = peer.forwarded.address(), %error, "TLS handshake failed"),
                        Err(_) => tracing::debug!(client = peer.forwarded.address(), "TLS handshake timed out"),
                    }
                }
            }
        }
        Client::Unix(stream) => {
            let peer = peer(&thread, None, None, false);
            Box::pin(http(thread, stream, peer, false)).await;
        }
    }
}

fn peer(thread: &Thread, remote: Option<SocketAddr>, local: Option<SocketAddr>, tls: bool) -> Peer {
    Peer {
        forwarded: forwarded::Peer::new(&thread.active().trust, remote, tls),
        local_addr: local.map(|address| address.ip().to_canonical().to_string()).unwrap_or_default(),
        local_port: local.map_or(0, |address| address.port()),
    }
}

async fn http<I: Io + 'static>(thread: Rc<Thread>, io: I, peer: Peer, http2: bool) {
    // Boxed, here and above, so that an idle plain HTTP/1 connection carries no room for what it is not.
    if http2 {
        return Box::pin(http2::serve(thread, io, peer, Vec::new())).await;
    }
    if let Outcome::Http2(io, peer, read) = Connection::new(thread.clone(), io, peer, Vec::new()).run().await {
        Box::pin(http2::serve(thread, io, peer, read)).await;
    }
}
