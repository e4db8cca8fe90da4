//! The one table of keys. Reading, defaults, the JSON schema, the reference in `docs/configuration.md` and the names of
//! environment variables all come from it.

/// A table of `bireme.toml`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Section {
    /// Keys before any heading.
    Top,
    /// `[tls]`
    Tls,
    /// `[limits]`
    Limits,
    /// `[timeouts]`
    Timeouts,
    /// `[access_log]`
    AccessLog,
    /// `[compression]`
    Compression,
    /// `[websocket]`
    WebSocket,
    /// `[calls]`
    Calls,
    /// `[static_cache]`
    StaticCache,
    /// `[dev]`
    Dev,
    /// `[service.NAME]`
    Service,
    /// `[[route]]`
    Route,
}

impl Section {
    /// Every section, in the order of the reference.
    pub const ALL: [Section; 12] = [
        Section::Top,
        Section::Service,
        Section::Route,
        Section::Tls,
        Section::Limits,
        Section::Timeouts,
        Section::AccessLog,
        Section::Compression,
        Section::WebSocket,
        Section::Calls,
        Section::StaticCache,
        Section::Dev,
    ];

    /// The key under which it stands in the file; empty for the top.
    pub fn key(self) -> &'static str {
        match self {
            Section::Top => "",
            Section::Tls => "tls",
            Section::Limits => "limits",
            Section::Timeouts => "timeouts",
            Section::AccessLog => "access_log",
            Section::Compression => "compression",
            Section::WebSocket => "websocket",
            Section::Calls => "calls",
            Section::StaticCache => "static_cache",
            Section::Dev => "dev",
            Section::Service => "service",
            Section::Route => "route",
        }
    }

    /// What the section is for.
    pub fn about(self) -> &'static str {
        match self {
            Section::Top => "The server as a whole.",
            Section::Tls => "TLS on every TCP listener. Without this table they speak plain HTTP.",
            Section::Limits => "What one client may ask for.",
            Section::Timeouts => "How long Bireme waits, and for whom.",
            Section::AccessLog => "One line for each request.",
            Section::Compression => "Compression of responses that the application did not compress.",
            Section::WebSocket => {
                "WebSockets whose frames Bireme reads and writes for the application. Programs that speak the protocol themselves (`ws`, socket.io) have settings of their own."
            }
            Section::Calls => "Calls of functions from one language to the other.",
            Section::Dev => "What `bireme dev` watches. Other commands read it, and do nothing with it.",
            Section::StaticCache => "Memory that each front thread spends on hot static files.",
            Section::Service => "An application, and the worker processes that run it.",
            Section::Route => "What is matched, and where it goes. The first match wins.",
        }
    }

    /// Its keys.
    pub fn keys(self) -> impl Iterator<Item = &'static Key> {
        KEYS.iter().filter(move |key| key.section == self)
    }

    /// Whether it stands once, so that environment variables can name its keys.
    pub(crate) fn is_single(self) -> bool {
        !matches!(self, Section::Service | Section::Route)
    }
}

/// One key.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// Where it stands.
    pub section: Section,
    /// Its name.
    pub name: &'static str,
    /// What it takes.
    pub kind: Kind,
    /// What holds without it.
    pub default: Default,
    /// What it does, in a sentence or two of Markdown.
    pub about: &'static str,
}

impl Key {
    /// `limits.fields_max`; sections that stand many times give `service.NAME.workers` and `route.match`.
    pub fn path(&self) -> String {
        match self.section {
            Section::Top => self.name.to_owned(),
            Section::Service => format!("service.NAME.{}", self.name),
            section => format!("{}.{}", section.key(), self.name),
        }
    }

    /// The environment variable that sets it, if it can stand only once.
    pub fn variable(&self) -> Option<String> {
        let path = self.path().replace('.', "_").to_uppercase();
        self.section.is_single().then(|| format!("BIREME_{path}"))
    }
}

/// What a key takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Any text; never empty.
    Text,
    /// Any text, also an empty one.
    Content,
    /// A path, relative to the folder of the file.
    Path,
    /// `true` or `false`.
    Boolean,
    /// A whole number.
    Count {
        /// Least.
        min: u64,
        /// Greatest.
        max: u64,
        /// Whether `"off"` may stand instead.
        off: bool,
    },
    /// `"10s"`
    Duration {
        /// Whether zero makes sense.
        zero: bool,
        /// Whether `"off"` may stand instead.
        off: bool,
    },
    /// `"16MiB"`
    Bytes {
        /// Least.
        min: u64,
        /// Greatest.
        max: u64,
        /// Whether `"off"` may stand instead.
        off: bool,
    },
    /// `0.05`: above 0, up to 1.
    Part,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// Any number of these words.
    Choices(&'static [&'static str]),
    /// Texts; one may stand without brackets.
    Texts,
    /// A list of paths, or one, relative to the folder of the file.
    Paths,
    /// A table of texts.
    Map,
    /// `true`, or a text.
    BooleanOrText,
}

/// What holds without a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Default {
    /// This value, written as in an environment variable.
    Is(&'static str),
    /// No value; the text says what that means.
    Unset(&'static str),
}

const LARGE: u64 = u32::MAX as u64;

const fn count(min: u64, max: u64) -> Kind {
    Kind::Count { min, max, off: false }
}

/// More bytes than any machine has, and a number that TOML can write.
const ANY: u64 = i64::MAX as u64;

const TIME: Kind = Kind::Duration { zero: false, off: false };
const TIME_OR_ZERO: Kind = Kind::Duration { zero: true, off: false };
const TIME_OR_OFF: Kind = Kind::Duration { zero: false, off: true };

macro_rules! keys {
    ($($section:ident { $($name:literal $kind:expr, $default:ident($text:literal), $about:literal;)* })*) => {
        /// Every key there is.
        pub static KEYS: &[Key] = &[$($(Key {
            section: Section::$section,
            name: $name,
            kind: $kind,
            default: Default::$default($text),
            about: $about,
        },)*)*];
    };
}

keys! {
    Top {
        "listen" Kind::Texts, Is("127.0.0.1:8000"),
            "Addresses to listen on: `HOST:PORT`, `:PORT` (every IPv4 address), `[::]:PORT` or `unix:PATH`. Port 0 lets the system choose.";
        "threads" count(1, 256), Unset("one a core, at most 4"),
            "Front threads. Each accepts its own connections and holds a link to every worker.";
        "busy_poll_us" Kind::Count { min: 1, max: 1000, off: true }, Unset("100, on one core `off`"),
            "Microseconds that a front thread goes on asking for more work before it sleeps, at most; spent only while such waits have been ending sooner. Shortens answers, and costs processor time where requests come singly but fast.";
        "workers" count(1, 1024), Unset("one a core"),
            "Worker processes of every service that does not say its own number. As a flag or variable it is for all services.";
        "trusted_proxies" Kind::Texts, Unset("nobody"),
            "Addresses and networks (`10.0.0.0/8`) whose `Forwarded` and `X-Forwarded-*` fields are believed; `unix` trusts the peers of Unix sockets.";
        "log_format" Kind::Choice(&["text", "json"]), Is("text"),
            "Look of the log on stderr.";
        "log_level" Kind::Choice(&["error", "warn", "info", "debug", "trace"]), Is("info"),
            "Least severity that is logged.";
        "metrics_listen" Kind::Text, Unset("nowhere"),
            "Address, as in `listen`, at which `GET /metrics` answers with the counts of Bireme and its workers for Prometheus; apart from `listen`, so that clients do not see it.";
        "server_header" Kind::Text, Unset("no such field"),
            "Value of the `server` field of responses.";
        "runtime_dir" Kind::Path, Unset("a private folder below `$XDG_RUNTIME_DIR` or `/tmp`"),
            "Folder for Bireme's own sockets; made if it is missing, for its owner only.";
    }
    Tls {
        "certificate" Kind::Paths, Unset("required"),
            "PEM file with the certificate, then its chain. Several: a client gets the first one that is for the name it asks for (SNI), or else the first.";
        "key" Kind::Paths, Unset("required"),
            "PEM file with the private key; as many as certificates, in the same order.";
        "reload_interval" TIME, Is("5s"),
            "How often the files are looked at for a change.";
    }
    Limits {
        "header_bytes_max" Kind::Bytes { min: 1 << 10, max: 512 << 10, off: false }, Is("64KiB"),
            "Bytes of a request's header section; beyond, the answer is 431.";
        "fields_max" count(8, 256), Is("128"),
            "Fields in a request's header section; beyond, the answer is 431.";
        "target_bytes_max" Kind::Bytes { min: 256, max: 63 << 10, off: false }, Is("16KiB"),
            "Bytes of a request's target (path and query); beyond, the answer is 414.";
        "body_bytes_max" Kind::Bytes { min: 0, max: ANY, off: true }, Is("1GiB"),
            "Bytes of a request's body; beyond, the answer is 413. Bodies are streamed, so this protects applications, not the front's memory.";
        "connections_max" count(1, LARGE), Is("16384"),
            "Client connections open at once. Further ones wait in the system's queue.";
        "requests_per_connection_max" Kind::Count { min: 1, max: LARGE, off: true }, Is("off"),
            "Requests after which a connection is closed.";
        "http2_streams_max" count(1, 65_536), Is("128"),
            "Streams open at once on one HTTP/2 connection.";
    }
    Timeouts {
        "header" TIME, Is("10s"),
            "From the first byte of a request (on a new connection: from its accept) until its header section is complete; beyond, the answer is 408.";
        "body_idle" TIME, Is("30s"),
            "Without one byte of a request body; beyond, the answer is 408.";
        "response" TIME_OR_OFF, Is("60s"),
            "Until an application begins its response; beyond, the answer is 504.";
        "response_idle" TIME_OR_OFF, Is("off"),
            "Without one byte of a response that has begun; beyond, it is cut. Off, silent streams live on.";
        "client_write_idle" TIME, Is("60s"),
            "Without the client taking one byte of what is ready for it; beyond, the connection is cut.";
        "keep_alive" TIME, Is("75s"),
            "Between two requests of a connection.";
        "drain" TIME_OR_ZERO, Is("30s"),
            "From the order to stop until what is still in flight is cut.";
    }
    AccessLog {
        "format" Kind::Choice(&["off", "text", "json", "combined"]), Is("off"),
            "Look of the access log; `combined` is the format of Apache and nginx.";
        "path" Kind::Path, Unset("standard output"),
            "File to append to.";
        "when_full" Kind::Choice(&["drop", "block"]), Is("drop"),
            "When the writer cannot keep up: `drop` and count lines, or let requests wait (`block`).";
        "buffer_bytes_max" Kind::Bytes { min: 65_536, max: ANY, off: false }, Is("4MiB"),
            "Records that may wait for the writer.";
    }
    Compression {
        "enabled" Kind::Boolean, Is("true"),
            "Whether responses are compressed on the fly.";
        "encodings" Kind::Choices(&["br", "zstd", "gzip"]), Is("br,zstd,gzip"),
            "Codings to choose from; the first that a client likes best is taken.";
        "min_bytes" Kind::Bytes { min: 0, max: ANY, off: false }, Is("1KiB"),
            "Bodies of a known length below this stay as they are.";
        "types" Kind::Texts, Unset("none"),
            "Further media types to compress, such as `application/x-ndjson`, beside those that are known to compress well.";
    }
    WebSocket {
        "message_bytes_max" Kind::Bytes { min: 1024, max: 1 << 30, off: false }, Is("16MiB"),
            "Bytes of a client's message, after decompression; beyond, the socket is closed with 1009.";
        "send_buffer_bytes_max" Kind::Bytes { min: 16384, max: 1 << 30, off: false }, Is("256KiB"),
            "Bytes that wait for a slow client; beyond, `send_queue_full` says what happens.";
        "send_queue_full" Kind::Choice(&["backpressure", "drop-oldest", "drop-socket"]), Is("backpressure"),
            "What happens to further messages for a slow client: the application's sending waits; or they wait in a queue, and when that is full its oldest messages are dropped, or the socket is closed with 1008.";
        "send_queue_bytes_max" Kind::Bytes { min: 16384, max: 1 << 30, off: false }, Is("1MiB"),
            "Bytes of that queue, for each socket.";
        "ping_interval" TIME_OR_OFF, Is("30s"),
            "Silence of a client after which it is sent a ping.";
        "ping_timeout" TIME, Is("20s"),
            "From a ping until a client that stays silent is taken for gone (1006 for the application).";
        "idle_timeout" TIME_OR_OFF, Is("off"),
            "Without a message in either direction; beyond, the socket is closed with 1001. Pings do not count.";
        "close_timeout" TIME, Is("5s"),
            "From a Close frame until the client must have answered it.";
        "compression" Kind::Boolean, Is("true"),
            "Whether permessage-deflate is agreed on with clients that offer it.";
        "compression_min_bytes" Kind::Bytes { min: 0, max: 1 << 30, off: false }, Is("1KiB"),
            "Messages below this are sent as they are.";
        "compression_level" count(1, 9), Is("3"),
            "Effort of compression, from 1 (fast) to 9 (small).";
        "context_takeover" Kind::Boolean, Is("false"),
            "Compress each message with those before it in mind: smaller, for about 300 KiB of memory a socket.";
        "window_bits_max" count(9, 15), Is("15"),
            "Size of the compressor's window, as a power of two.";
        "topic_queue_bytes_max" Kind::Bytes { min: 16384, max: 1 << 30, off: false }, Is("1MiB"),
            "Bytes of topics' messages that wait for one slow socket, beside `send_buffer_bytes_max`.";
        "topic_queue_full" Kind::Choice(&["drop-oldest", "drop-socket", "backpressure"]), Is("drop-oldest"),
            "What happens then: its oldest waiting messages are dropped, it is closed with 1008, or publishers wait for it.";
    }
    Calls {
        "timeout" TIME_OR_OFF, Is("30s"),
            "Longest time that a call may take, unless it says its own.";
        "in_flight_max" count(1, 1 << 20), Is("1024"),
            "Calls under way from one process to one worker; beyond, they fail with `BIREME_SERVICE_BUSY`.";
        "message_bytes_max" Kind::Bytes { min: 64 << 10, max: 1 << 31, off: false }, Is("64MiB"),
            "Bytes of a call's arguments, or of its result, beside what lies in shared memory.";
        "queue_max" count(1, 1 << 20), Is("1024"),
            "Calls of plain Python functions that wait in one worker for one of its threads (`threads_max`); beyond, they fail with `BIREME_SERVICE_BUSY`.";
        "shared_bytes_min" Kind::Bytes { min: 4096, max: 1 << 40, off: true }, Is("64KiB"),
            "Arrays and byte strings from this size on cross in shared memory; `off`: only what `bireme.shared` made does.";
        "shared_bytes_max" Kind::Bytes { min: 1 << 20, max: 1 << 44, off: false }, Is("1GiB"),
            "Shared memory that one process may hold for others to look at; beyond, arrays cross in messages, and `bireme.shared` fails.";
        "start_timeout" TIME, Is("60s"),
            "Longest wait for a worker of the called service to be ready.";
        "workers" count(1, 1024), Is("1"),
            "Worker processes for code that is called and belongs to no service, in each language. They start with the first call.";
    }
    StaticCache {
        "bytes_max" Kind::Bytes { min: 0, max: ANY, off: false }, Is("16MiB"),
            "Memory over all files, on each front thread; 0 keeps none.";
        "file_bytes_max" Kind::Bytes { min: 0, max: ANY, off: false }, Is("64KiB"),
            "Largest file that is kept.";
        "revalidate" TIME_OR_ZERO, Is("1s"),
            "How long a file is served before the file system is asked whether it changed.";
    }
    Dev {
        "watch" Kind::Paths, Unset("the folder of `bireme.toml` and those of the services"),
            "Folders whose files are watched.";
        "ignore" Kind::Texts, Unset("none"),
            "Patterns, as in a `.gitignore`, of files and folders that are not watched, beside those that `.gitignore` names.";
        "endings" Kind::Texts, Is("py,js,mjs,cjs,jsx,ts,mts,cts,tsx,json,toml,yaml,yml,html,jinja,jinja2,j2,sql"),
            "Endings of the files that are watched, without their dot. `.env` and `bireme.toml` always are.";
        "debounce" TIME, Is("100ms"),
            "Silence after which changes are taken up, all as one.";
        "folders_max" count(1, LARGE), Is("8192"),
            "Folders that are watched; each takes one of the kernel's watches. With more, `bireme dev` does not start.";
        "types" Kind::Boolean, Is("true"),
            "Whether the files of `bireme types` are kept fresh.";
    }
    Service {
        "node" Kind::Path, Unset("required, this or `python`"),
            "The program: a file, or a folder whose `package.json` names one.";
        "python" Kind::Text, Unset("required, this or `node`"),
            "The application: `module:attribute`, `module`, `module:factory()` or `file.py`; looked up in `cwd`.";
        "workers" count(1, 1024), Unset("the top-level `workers`"),
            "Worker processes.";
        "cwd" Kind::Path, Unset("the folder of the file"),
            "Working folder of the workers.";
        "args" Kind::Texts, Unset("none"),
            "Arguments for the program.";
        "env" Kind::Map, Unset("none"),
            "Environment variables, on top of those that Bireme itself has.";
        "interpreter" Kind::Text, Unset("found: `node` on the path; `$VIRTUAL_ENV`, `.venv` beside the app, `python3`"),
            "The interpreter to use; for Python also the folder of a virtual environment. A bare name is looked up on the path.";
        "interpreter_args" Kind::Texts, Unset("none"),
            "Arguments for the interpreter, such as `--max-old-space-size=512`.";
        "interface" Kind::Choice(&["auto", "asgi", "wsgi"]), Is("auto"),
            "Python: the application's interface; `auto` looks at it.";
        "factory" Kind::Boolean, Is("false"),
            "Python: call the attribute to get the application.";
        "lifespan" Kind::Choice(&["auto", "on", "off"]), Is("auto"),
            "Python, ASGI: lifespan events; `on` fails the start of an application that does not know them.";
        "event_loop" Kind::Choice(&["auto", "asyncio", "uvloop"]), Is("auto"),
            "Python, ASGI: the event loop; `auto` takes uvloop where it is installed.";
        "threads_max" count(1, 1024), Unset("chosen by the worker"),
            "Python: threads in each worker for WSGI requests, and as many for calls of plain functions.";
        "port" count(1, 65_535), Unset("the first server that listens"),
            "Node: the port whose server is the service, for programs that listen on several.";
        "survive" Kind::Boolean, Is("false"),
            "WebSockets stay open when their worker dies or is replaced, and another one takes them over.";
        "sticky" Kind::Text, Unset("the least-loaded worker"),
            "What keeps a client's requests with one worker, as long as that lives and has room: `socket.io` (the session that a server of socket.io has opened), `address` (the client's), `cookie:NAME`, `header:NAME` or `query:NAME`.";
        "start_timeout" TIME, Is("60s"),
            "From a worker's start until it must be ready.";
        "stop_timeout" TIME, Is("10s"),
            "From the order to shut down until a worker is killed.";
        "queue_requests_max" count(0, LARGE), Is("1024"),
            "Requests that wait for a worker, on each front thread; beyond, the answer is 503.";
        "queue_timeout" TIME_OR_ZERO, Is("10s"),
            "Longest wait for a worker; beyond, the answer is 503.";
        "in_flight_max" count(1, LARGE), Is("1024"),
            "Requests that one worker holds at once, from each front thread. Open WebSockets do not count.";
        "recycle_requests" Kind::Count { min: 1, max: LARGE, off: true }, Is("off"),
            "Requests after which a worker is replaced.";
        "recycle_memory" Kind::Bytes { min: 16 << 20, max: ANY, off: true }, Is("off"),
            "Memory past which a worker is replaced.";
        "restart_delay_min" TIME, Is("100ms"),
            "First pause before a dead worker is started again; it doubles with each failure.";
        "restart_delay_max" TIME, Is("30s"),
            "Longest pause before a dead worker is started again.";
        "hang_timeout" TIME_OR_OFF, Is("off"),
            "Silence of a worker's event loop after which it is killed and replaced.";
        "call_timeout" TIME_OR_OFF, Unset("`calls.timeout`"),
            "Longest time that a call of the service's functions may take, unless it says its own.";
    }
    Route {
        "match" Kind::Text, Unset("required"),
            "Pattern of the path: `/about`, `/api/*`, `/users/{id}`, `/files/{*path}`.";
        "hosts" Kind::Texts, Unset("every host"),
            "Hosts: `example.com`, `*.example.com`.";
        "methods" Kind::Texts, Unset("every method"),
            "Methods; `GET` includes `HEAD`.";
        "to" Kind::Text, Unset("one of `to`, `static`, `redirect`, `respond` is required"),
            "The service that answers.";
        "static" Kind::Path, Unset("see `to`"),
            "Folder whose files are the answer; what `*` matches is the file's path.";
        "redirect" Kind::Text, Unset("see `to`"),
            "Where the client is sent. `{path}`, `{query}`, `{host}` and the pattern's parameters are filled in; `{query}` brings its own `?`.";
        "respond" Kind::Content, Unset("see `to`"),
            "A fixed answer's content.";
        "strip_prefix" Kind::BooleanOrText, Is("false"),
            "With `to`: take this prefix off the path; `true` takes all that stands before `*`. The application learns it as `root_path` or `SCRIPT_NAME`.";
        "shadow" Kind::Text, Unset("none"),
            "With `to`: a service that is asked a sample of the route's GET and HEAD requests besides; clients never wait for it or see it. See `bireme compare --shadow-report`.";
        "sample" Kind::Part, Is("0.05"),
            "With `shadow`: the part of the requests that is copied. Each of them is asked twice of either service.";
        "index" Kind::Texts, Is("index.html"),
            "With `static`: files served for a folder, the first that exists.";
        "fallback" Kind::Text, Unset("404"),
            "With `static`: the file served when nothing else is found, for single-page applications.";
        "cache_control" Kind::Text, Unset("no such field"),
            "With `static`: value of `cache-control`.";
        "precompressed" Kind::Boolean, Is("true"),
            "With `static`: serve `x.br`, `x.zst` or `x.gz` in place of `x` to clients that can read it.";
        "dotfiles" Kind::Boolean, Is("false"),
            "With `static`: serve names that begin with a dot. `.well-known` is always served.";
        "status" count(200, 599), Unset("308 with `redirect`, 200 with `respond`"),
            "With `redirect` or `respond`: the status.";
        "content_type" Kind::Text, Is("text/plain; charset=utf-8"),
            "With `respond`: value of `content-type`.";
        "body_bytes_max" Kind::Bytes { min: 0, max: ANY, off: true }, Unset("`limits.body_bytes_max`"),
            "Bytes of a request's body on this route.";
        "response_timeout" TIME_OR_OFF, Unset("`timeouts.response`"),
            "Until the response begins, on this route.";
        "response_fields" Kind::Map, Unset("none"),
            "Fields set on every response of this route.";
    }
}
