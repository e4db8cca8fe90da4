//! Everything a running server needs to know, resolved: plain data without `Option`s that mean "default".

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

use crate::Place;

/// One server's settings. Every path is absolute.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// The file they came from, if one was read.
    pub file: Option<PathBuf>,
    /// Addresses to listen on; at least one.
    pub listen: Vec<Listen>,
    /// TLS on every TCP listener; Unix sockets stay plain.
    pub tls: Option<Tls>,
    /// Front threads; at least 1. Each holds one link to every worker.
    pub threads: usize,
    /// How long a front thread asks for more before it sleeps, at most; `None`: it sleeps at once.
    pub busy_poll: Option<Duration>,
    /// What one client may ask for.
    pub limits: Limits,
    /// How long the front waits for whom.
    pub timeouts: Timeouts,
    /// Peers whose `Forwarded` and `X-Forwarded-*` fields are believed.
    pub trusted_proxies: TrustedProxies,
    /// Value of the `server` response field; `None` sends none.
    pub server_header: Option<String>,
    /// What Bireme says on stderr.
    pub log: Log,
    /// Where Prometheus finds numbers, if anywhere.
    pub metrics_listen: Option<Listen>,
    /// One line a request.
    pub access_log: AccessLog,
    /// Compression on the fly.
    pub compression: Compression,
    /// WebSockets that the front speaks.
    pub websocket: WebSocket,
    /// Calls between the languages.
    pub calls: Calls,
    /// What `bireme dev` watches.
    pub watch: Watch,
    /// Static files' memory.
    pub static_cache: StaticCache,
    /// Where sockets live; `None` lets the supervisor choose a private folder.
    pub runtime_dir: Option<PathBuf>,
    /// Error pages show what the log shows: for development alone.
    pub dev: bool,
    /// Applications, in the order of the file, then of the command line. Names are unique.
    pub services: Vec<Service>,
    /// Routes in order; the first match wins. Every target service exists in `services`.
    pub routes: Vec<Route>,
}

/// An address to listen on.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Listen {
    /// A TCP address; port 0 lets the kernel choose.
    Tcp(SocketAddr),
    /// Path of a Unix stream socket.
    Unix(PathBuf),
}

/// What TLS is spoken with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// At least one; the first is for clients that name no server, or one that no certificate is for.
    pub certificates: Vec<CertificateFiles>,
    /// How often the files are looked at for a change.
    pub reload_interval: Duration,
}

/// A certificate and its key, both PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFiles {
    /// The certificate, then its chain.
    pub certificate: PathBuf,
    /// The private key (PKCS #8, PKCS #1 or SEC 1).
    pub key: PathBuf,
}

/// What one client may ask for; past a limit the answer is named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a request's header section, request line excluded; 431 beyond.
    pub header_bytes_max: usize,
    /// Fields in a request's header section; 431 beyond.
    pub fields_max: usize,
    /// Bytes of a request's target; 414 beyond.
    pub target_bytes_max: usize,
    /// Bytes of a request's body; 413 beyond. `None` has no limit.
    pub body_bytes_max: Option<u64>,
    /// Client connections open at once over all threads; further ones wait in the kernel's queue.
    pub connections_max: usize,
    /// Requests after which a connection is closed; `None` never.
    pub requests_per_connection_max: Option<u64>,
    /// Streams open at once on one HTTP/2 connection.
    pub http2_streams_max: u32,
}

/// How long the front waits for whom. `None` waits for ever.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// From the first byte of a request until its header section is complete; 408 beyond. On a fresh connection
    /// it runs from the accept on, TLS handshake included.
    pub header: Duration,
    /// Without one byte of a request body that is being waited for; 408 beyond.
    pub body_idle: Duration,
    /// From the end of the request's header section until the response begins, time in the service's queue included;
    /// 504 beyond. While the body is still arriving the clock stands still.
    pub response: Option<Duration>,
    /// Without one byte of a response that has begun; the stream is cut beyond.
    pub response_idle: Option<Duration>,
    /// Without the client taking one byte of what is ready for it; the connection is cut beyond.
    pub client_write_idle: Duration,
    /// Between two requests of a connection.
    pub keep_alive: Duration,
    /// From the order to stop until what is still in flight is cut.
    pub drain: Duration,
}

/// Whose forwarding fields are believed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrustedProxies {
    /// Networks of TCP peers.
    pub networks: Vec<IpNet>,
    /// Peers of Unix-socket listeners.
    pub unix: bool,
}

/// What Bireme says on stderr.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// How it looks.
    pub format: LogFormat,
    /// What is left out.
    pub level: LogLevel,
}

/// Look of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// Short lines for people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Least severity that is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum LogLevel {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

/// One line a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessLog {
    /// How it looks.
    pub format: AccessFormat,
    /// A file to append to; `None` is stdout.
    pub path: Option<PathBuf>,
    /// What happens when the writer cannot keep up.
    pub when_full: WhenFull,
    /// Bytes of records that may wait for the writer.
    pub buffer_bytes_max: usize,
}

/// Look of the access log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccessFormat {
    /// None is written.
    Off,
    /// Short lines for people.
    Text,
    /// One JSON object a line.
    Json,
    /// The "combined" format of Apache and nginx.
    Combined,
}

/// What happens to a record of the access log that finds no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenFull {
    /// It is dropped and counted; the count is logged.
    Drop,
    /// Requests wait.
    Block,
}

/// Compression on the fly, of responses that an application did not compress.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compression {
    /// Whether at all.
    pub enabled: bool,
    /// Codings to choose from, the server's favourite first.
    pub encodings: Vec<Encoding>,
    /// Bodies of a known length below this stay as they are.
    pub min_bytes: u64,
    /// Further media types to compress, beside those that are known to compress well.
    pub types: Vec<String>,
}

/// A content coding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// `br` (RFC 7932).
    Brotli,
    /// `zstd` (RFC 8878).
    Zstd,
    /// `gzip` (RFC 1952).
    Gzip,
}

/// WebSockets that the front speaks for the application.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebSocket {
    /// Bytes of a client's message, after decompression.
    pub message_bytes_max: u64,
    /// Bytes that wait for a slow client before the application is held back.
    pub send_buffer_bytes_max: usize,
    /// Bytes of the application's messages that wait for one socket beside them, unless `send_queue_full` is backpressure.
    pub send_queue_bytes_max: usize,
    /// What happens to a socket with more.
    pub send_queue_full: QueueFull,
    /// Silence of a client after which it is sent a ping; `None` sends none.
    pub ping_interval: Option<Duration>,
    /// From a ping until a silent client is taken for gone.
    pub ping_timeout: Duration,
    /// Without a message in either direction; `None` waits for ever.
    pub idle_timeout: Option<Duration>,
    /// From a Close frame until the client must have answered.
    pub close_timeout: Duration,
    /// permessage-deflate; `None` agrees on none.
    pub compression: Option<WebSocketCompression>,
    /// Bytes of topics' messages that wait for one socket.
    pub topic_queue_bytes_max: usize,
    /// What happens to a socket with more.
    pub topic_queue_full: QueueFull,
}

/// What happens when more waits for a socket than may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueueFull {
    /// The oldest messages go.
    DropOldest,
    /// The socket goes.
    DropSocket,
    /// Whoever sends waits.
    Backpressure,
}

/// permessage-deflate (RFC 7692).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WebSocketCompression {
    /// Messages below this are sent as they are.
    pub bytes_min: usize,
    /// zlib's, 1–9.
    pub level: u32,
    /// Whether windows are kept from message to message.
    pub context_takeover: bool,
    /// The compressor's window, as a power of two: 9–15.
    pub window_bits_max: u8,
}

/// Memory that each front thread spends on hot static files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StaticCache {
    /// Bytes over all files; 0 caches nothing.
    pub bytes_max: usize,
    /// Largest file that is kept.
    pub file_bytes_max: usize,
    /// How long a file is served without asking the file system whether it changed.
    pub revalidate: Duration,
}

/// What `bireme dev` watches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watch {
    /// Folders; none: those of the configuration file and of the services.
    pub folders: Vec<PathBuf>,
    /// Patterns of what is left out, as in a `.gitignore`.
    pub ignore: Vec<String>,
    /// Endings of files, without their dot.
    pub endings: Vec<String>,
    /// Silence after which changes are taken up.
    pub debounce: Duration,
    /// Most folders.
    pub folders_max: usize,
    /// Whether what type checkers are told is kept fresh.
    pub types: bool,
}

/// An application in one language.
#[derive(Clone, Debug, PartialEq)]
pub struct Service {
    /// Its name: `[a-z][a-z0-9_-]*`, unique.
    pub name: Arc<str>,
    /// Where it was named, for messages.
    pub place: Place,
    /// What to run.
    pub app: App,
    /// Worker processes; at least 1.
    pub workers: usize,
    /// Working folder of the workers.
    pub cwd: PathBuf,
    /// Arguments after the entry.
    pub args: Vec<String>,
    /// Variables on top of Bireme's own environment.
    pub env: Vec<(String, String)>,
    /// The interpreter (or, for Python, a virtual environment's folder): an absolute path, or a bare name to be looked up
    /// on the path. `None` is searched for.
    pub interpreter: Option<PathBuf>,
    /// Arguments for the interpreter itself, before the entry.
    pub interpreter_args: Vec<String>,
    /// The folder above which no virtual environment is searched for: that of the config file.
    pub root: PathBuf,
    /// Python: which interface the application has.
    pub interface: Interface,
    /// Python: the target is called to get the application.
    pub factory: bool,
    /// Python, ASGI: whether lifespan events are sent.
    pub lifespan: Lifespan,
    /// Python, ASGI: which event loop runs it.
    pub event_loop: EventLoop,
    /// Python, WSGI: threads in each worker; `None` lets the worker choose.
    pub threads_max: Option<usize>,
    /// Node: which `listen(port)` of the program is the service, when it has several.
    pub port: Option<u16>,
    /// WebSockets outlive their workers.
    pub survive: bool,
    /// Which worker a request prefers; `None` takes the least-loaded one.
    pub sticky: Option<Sticky>,
    /// From the start of a worker until it must be ready.
    pub start_timeout: Duration,
    /// From the order to stop until a worker is killed.
    pub stop_timeout: Duration,
    /// Requests that may wait for a worker, on each front thread; 503 beyond.
    pub queue_requests_max: usize,
    /// Longest wait for a worker; 503 beyond.
    pub queue_timeout: Duration,
    /// Requests one worker holds at once, from each front thread.
    pub in_flight_max: usize,
    /// Requests after which a worker is replaced.
    pub recycle_requests: Option<u64>,
    /// Resident memory past which a worker is replaced.
    pub recycle_memory_bytes: Option<u64>,
    /// First pause before a dead worker is started again; doubles up to the next field.
    pub restart_delay_min: Duration,
    /// Longest pause before a dead worker is started again.
    pub restart_delay_max: Duration,
    /// Silence after which a worker whose event loop does not answer is killed; `None` never.
    pub hang_timeout: Option<Duration>,
    /// Longest time of a call of its functions that does not say its own: `Some(None)` is without limit; `None` as [`Calls`] says.
    pub call_timeout: Option<Option<Duration>>,
}

/// What sends a client's requests to one worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sticky {
    /// The session that a server of socket.io (engine.io) has opened.
    SocketIo,
    /// The client's address.
    Address,
    /// A cookie's value.
    Cookie(String),
    /// A header field's value.
    Header(String),
    /// A value in the query.
    Query(String),
}

impl Sticky {
    /// Reads `address`, `socket.io`, `cookie:NAME`, `header:NAME` or `query:NAME`.
    pub(crate) fn parse(text: &str) -> Option<Sticky> {
        let (kind, name) = text.split_once(':').unwrap_or((text, ""));
        let is_name = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_graphic() && !b"=;&,\"".contains(&byte));
        Some(match kind {
            "socket.io" if text == kind => Sticky::SocketIo,
            "address" if text == kind => Sticky::Address,
            "cookie" if is_name => Sticky::Cookie(name.to_owned()),
            "header" if is_name => Sticky::Header(name.to_ascii_lowercase()),
            "query" if is_name => Sticky::Query(name.to_owned()),
            _ => return None,
        })
    }
}

/// What a service runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum App {
    /// A program for Node.
    Node {
        /// Its file.
        entry: PathBuf,
    },
    /// An ASGI or WSGI application.
    Python {
        /// `package.module`, `package.module:attribute` or `package.module:factory()`.
        target: String,
    },
}

/// Interface of a Python application.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Interface {
    /// The worker looks at the application.
    Auto,
    Asgi,
    Wsgi,
}

/// Whether ASGI lifespan events are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lifespan {
    /// Sent; an application that does not know them runs without.
    Auto,
    /// Sent; an application that does not know them fails to start.
    On,
    /// Not sent.
    Off,
}

/// Event loop of an ASGI application.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventLoop {
    /// uvloop where the application's environment has it, asyncio otherwise.
    Auto,
    /// The standard library's.
    Asyncio,
    /// uvloop; its absence fails the start.
    Uvloop,
}

/// Calls of functions from one language to the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Calls {
    /// Longest time of a call that does not say its own; `None` has no limit.
    pub timeout: Option<Duration>,
    /// Calls under way from one process to one worker.
    pub in_flight_max: usize,
    /// Bytes of a call's arguments, or of its result, beside shared memory.
    pub message_bytes_max: u64,
    /// Calls that wait in one worker for a thread.
    pub queue_max: usize,
    /// Least bytes that cross in shared memory; `None`: only what the program asked for does.
    pub shared_bytes_min: Option<u64>,
    /// Bytes of shared memory that one process may hold.
    pub shared_bytes_max: u64,
    /// Longest wait for a worker of the called service to be ready.
    pub start_timeout: Duration,
    /// Workers for code that belongs to no service, in each language.
    pub workers: usize,
}

/// What is matched, and where it goes.
#[derive(Clone, Debug, PartialEq)]
pub struct Route {
    /// Where it was written, for messages.
    pub place: Place,
    /// `api.example.com` or `*.example.com`; empty matches every host.
    pub hosts: Vec<String>,
    /// Upper-case names; empty matches every method.
    pub methods: Vec<String>,
    /// The path's pattern, as crate `route` reads it.
    pub path: String,
    /// A literal prefix that the application does not see, `/api`; without a slash at the end.
    pub strip_prefix: Option<String>,
    /// Where it goes.
    pub to: Target,
    /// In place of [`Limits::body_bytes_max`]: `None` inherits, `Some(None)` has no limit.
    pub body_bytes_max: Option<Option<u64>>,
    /// In place of [`Timeouts::response`]: `None` inherits, `Some(None)` waits for ever.
    pub response_timeout: Option<Option<Duration>>,
    /// Who else is asked a part of the requests.
    pub shadow: Option<Shadow>,
    /// Fields set on every response of the route, in place of fields of the same name.
    pub response_fields: Vec<(String, String)>,
}

/// A service that gets copies of a route's requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shadow {
    /// Its name.
    pub service: Arc<str>,
    /// Part of the requests that is copied, in millionths; at least 1.
    pub sample_millionths: u32,
}

/// Where a route goes.
#[derive(Clone, Debug, PartialEq)]
pub enum Target {
    /// To a worker of this service.
    Service(Arc<str>),
    /// To a file.
    Static(Static),
    /// To another place.
    Redirect {
        /// 301, 302, 303, 307 or 308.
        status: u16,
        /// May hold `{path}`, `{query}`, `{host}` and the pattern's own parameters.
        location: String,
    },
    /// To a fixed answer.
    Respond {
        /// 200–599.
        status: u16,
        /// Value of `content-type`.
        content_type: String,
        /// The content.
        body: String,
    },
}

/// Files below a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Static {
    /// The folder; nothing outside of it is ever served.
    pub root: PathBuf,
    /// Literal path prefix that maps to the root: `/assets` when the pattern is `/assets/*`; empty for `/*`.
    pub prefix: String,
    /// Files served for a folder, the first that exists.
    pub index: Vec<String>,
    /// Served with 200 when nothing else is found (single-page applications); relative to the root.
    pub fallback: Option<String>,
    /// Value of `cache-control`.
    pub cache_control: Option<String>,
    /// Whether `x.br`, `x.zst` and `x.gz` beside `x` are served in its place.
    pub precompressed: bool,
    /// Whether files and folders whose name begins with a dot are served.
    pub dotfiles: bool,
}
