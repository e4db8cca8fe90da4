//! Opens the sockets that clients connect to.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;

use config::Listen;
use socket2::{Domain, Protocol, Socket, Type};

/// Connections that the kernel holds until they are accepted; it cuts this to `net.core.somaxconn`.
const BACKLOG: i32 = 4096;

/// One front thread's share of a listener.
#[derive(Debug)]
pub enum Listener {
    /// Its own socket; the kernel spreads connections over the threads' sockets (SO_REUSEPORT). Inherited: the one socket
    /// of all threads.
    Tcp(TcpListener),
    /// The one socket that all threads accept from.
    Unix(UnixListener),
}

/// A listening socket that somebody else has opened.
#[derive(Debug)]
pub enum Inherited {
    /// Of TCP.
    Tcp(TcpListener),
    /// A Unix stream socket; its file is not ours to remove.
    Unix(UnixListener),
}

/// Sockets for every thread.
#[derive(Debug)]
pub struct Bound {
    pub(crate) per_thread: Vec<Vec<Listener>>,
    addresses: Vec<Listen>,
    unix_paths: Vec<PathBuf>,
}

/// An address that can't be listened on.
#[derive(Debug)]
pub struct BindError {
    /// Which.
    pub address: Listen,
    /// Why.
    pub error: io::Error,
}

impl std::fmt::Display for BindError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.address {
            Listen::Tcp(address) => write!(f, "can't listen on {address}: {}", self.error)?,
            Listen::Unix(path) => write!(f, "can't listen on unix:{}: {}", path.display(), self.error)?,
        }
        match self.error.kind() {
            io::ErrorKind::AddrInUse => f.write_str("; another process uses it: stop that one or choose another address"),
            io::ErrorKind::PermissionDenied => {
                f.write_str("; choose a port above 1023, or give the binary the capability cap_net_bind_service")
            }
            _ => Ok(()),
        }
    }
}

impl std::error::Error for BindError {}

impl Bound {
    /// Opens one address that is not for clients.
    ///
    /// # Errors
    /// As [`Bound::open`].
    pub fn open_apart(address: &Listen) -> Result<(Inherited, Listen), BindError> {
        let mut bound = Bound::open(std::slice::from_ref(address), 1)?;
        let socket = match bound.per_thread.pop().and_then(|mut listeners| listeners.pop()) {
            Some(Listener::Tcp(listener)) => Inherited::Tcp(listener),
            Some(Listener::Unix(listener)) => Inherited::Unix(listener),
            None => return Err(BindError { address: address.clone(), error: io::ErrorKind::AddrNotAvailable.into() }),
        };
        Ok((socket, bound.addresses.swap_remove(0)))
    }

    /// Opens every address once for each of `threads` threads.
    pub fn open(listen: &[Listen], threads: usize) -> Result<Bound, BindError> {
        let mut bound = Bound::empty(threads);
        for address in listen {
            bound.open_one(address).map_err(|error| BindError { address: address.clone(), error })?;
        }
        Ok(bound)
    }

    /// Takes over sockets; all of `threads` threads accept from each.
    ///
    /// # Errors
    /// When a socket can't be shared or has no address.
    pub fn adopt(sockets: Vec<Inherited>, threads: usize) -> io::Result<Bound> {
        let mut bound = Bound::empty(threads);
        for socket in sockets {
            let address = match &socket {
                Inherited::Tcp(listener) => {
                    listener.set_nonblocking(true)?;
                    Listen::Tcp(listener.local_addr()?)
                }
                Inherited::Unix(listener) => {
                    listener.set_nonblocking(true)?;
                    let address = listener.local_addr()?;
                    Listen::Unix(address.as_pathname().map_or_else(|| PathBuf::from("(unnamed)"), Into::into))
                }
            };
            for listeners in &mut bound.per_thread {
                listeners.push(match &socket {
                    Inherited::Tcp(listener) => Listener::Tcp(listener.try_clone()?),
                    Inherited::Unix(listener) => Listener::Unix(listener.try_clone()?),
                });
            }
            bound.addresses.push(address);
        }
        Ok(bound)
    }

    fn empty(threads: usize) -> Bound {
        Bound { per_thread: (0..threads).map(|_| Vec::new()).collect(), addresses: vec![], unix_paths: vec![] }
    }

    /// The addresses as they are, port 0 replaced by the chosen one.
    pub fn addresses(&self) -> &[Listen] {
        &self.addresses
    }

    /// Socket files to remove at the end.
    pub fn unix_paths(&self) -> &[PathBuf] {
        &self.unix_paths
    }

    fn open_one(&mut self, listen: &Listen) -> io::Result<()> {
        match listen {
            Listen::Tcp(address) => {
                let mut address = *address;
                if address.port() != 0 {
                    // Without this, SO_REUSEPORT would let two servers share the port in silence.
                    tcp_socket(address, false)?;
                }
                for listeners in &mut self.per_thread {
                    let listener = tcp_socket(address, true)?;
                    address = listener.local_addr()?;
                    listeners.push(Listener::Tcp(listener));
                }
                self.addresses.push(Listen::Tcp(address));
            }
            Listen::Unix(path) => {
                if let Ok(metadata) = std::fs::symlink_metadata(path) {
                    use std::os::unix::fs::FileTypeExt;
                    let live = std::os::unix::net::UnixStream::connect(path).is_ok();
                    if live || !metadata.file_type().is_socket() {
                        return Err(io::ErrorKind::AddrInUse.into());
                    }
                    std::fs::remove_file(path)?;
                }
                let listener = UnixListener::bind(path)?;
                listener.set_nonblocking(true)?;
                for listeners in &mut self.per_thread {
                    listeners.push(Listener::Unix(listener.try_clone()?));
                }
                self.unix_paths.push(path.clone());
                self.addresses.push(listen.clone());
            }
        }
        Ok(())
    }
}

fn tcp_socket(address: SocketAddr, reuse_port: bool) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(reuse_port)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}
