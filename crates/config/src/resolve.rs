//! Layers become settings: flag before environment before file before default.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

use crate::document::{self, Item, Table, Value};
use crate::error::{Errors, Mistake, Place};
use crate::keys::{Key, Section};
use crate::layers::{overlay_environment, overlay_flags, overlay_targets};
use crate::section::{self, Folders, Values};
use crate::show::Shown;
use crate::target;
use crate::{
    AccessFormat, AccessLog, App, Calls, CertificateFiles, Compression, Encoding, EventLoop, Interface, Lifespan, Limits, Log,
    LogFormat, LogLevel, QueueFull, Service, Settings, StaticCache, Sticky, Timeouts, Tls, TrustedProxies, Watch, WebSocket,
    WebSocketCompression, WhenFull, units,
};

/// Everything that settings are made of, read by the caller.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// The file, if there is one.
    pub file: Option<File>,
    /// Environment variables; those that do not begin with `BIREME_` are passed over.
    pub environment: Vec<(String, String)>,
    /// What the command line says.
    pub flags: Flags,
    /// The current folder, absolute.
    pub current: PathBuf,
    /// Functions are called and nothing is served: neither services nor routes are missed.
    pub calls_only: bool,
    /// Processors that this process may use; 0 counts as 1.
    pub cores: usize,
}

/// A file that has been read.
#[derive(Clone, Debug)]
pub struct File {
    /// Its absolute path.
    pub path: PathBuf,
    /// What messages call it.
    pub name: String,
    /// Its content.
    pub text: String,
}

/// What the command line says.
#[derive(Clone, Debug, Default)]
pub struct Flags {
    /// Keys that were set.
    pub values: Vec<Flag>,
    /// Applications: `./server.js`, `ml=app:app`.
    pub targets: Vec<String>,
    /// Arguments for the one application among `targets`.
    pub args: Vec<String>,
    /// Routes as `PATTERN=SERVICE` or `PATTERN=static:FOLDER`; they come before the file's.
    pub routes: Vec<String>,
}

/// A key set by a flag.
#[derive(Clone, Debug)]
pub struct Flag {
    /// What messages call it: `--workers`.
    pub name: String,
    /// The key: `workers`, `limits.fields_max`, `service.ml.workers`.
    pub key: String,
    /// Its values; more than one only for lists.
    pub values: Vec<String>,
}

/// Settings, and what else is worth saying.
#[derive(Clone, Debug)]
pub struct Resolved {
    /// The settings.
    pub settings: Settings,
    /// What was passed over.
    pub warnings: Vec<Mistake>,
    /// Every key that holds a value, and where it came from.
    pub shown: Vec<Shown>,
}

/// Makes settings of the layers, or says everything that is wrong with them.
pub fn resolve(sources: &Sources) -> Result<Resolved, Errors> {
    let mut errors = Errors::default();
    let mut warnings = Vec::new();
    let file_name: Option<Arc<str>> = sources.file.as_ref().map(|file| file.name.as_str().into());
    let mut tree = match (&sources.file, &file_name) {
        (Some(file), Some(name)) => document::parse(&file.text, name)?,
        _ => Table::default(),
    };
    let file_folder = sources.file.as_ref().and_then(|file| file.path.parent()).unwrap_or(&sources.current);
    let folders = Folders { file: file_folder, current: &sources.current };

    overlay_environment(&mut tree, &sources.environment, &mut warnings);
    overlay_flags(&mut tree, &sources.flags.values, &mut errors);
    overlay_targets(&mut tree, &sources.flags, folders, &mut errors);

    let mut reader = Reader {
        folders,
        cores: sources.cores.max(1),
        calls_only: sources.calls_only,
        errors,
        shown: Vec::new(),
        broken: Vec::new(),
    };
    let file = sources.file.as_ref().map(|file| file.path.clone());
    let settings = reader.settings(tree, file, &sources.flags.routes);
    if !reader.errors.0.is_empty() {
        return Err(reader.errors);
    }
    Ok(Resolved { settings, warnings, shown: reader.shown })
}

impl Settings {
    /// Settings of a file's text alone, for tests and tools; `folder` is what paths are relative to.
    pub fn from_toml(text: &str, folder: &Path) -> Result<Settings, Errors> {
        let file = File { path: folder.join("bireme.toml"), name: "bireme.toml".to_owned(), text: text.to_owned() };
        let sources = Sources { file: Some(file), current: folder.to_owned(), cores: 1, ..Sources::default() };
        Ok(resolve(&sources)?.settings)
    }
}

/// Reads the tree, and keeps what is wrong with it.
pub(crate) struct Reader<'f> {
    folders: Folders<'f>,
    cores: usize,
    pub(crate) calls_only: bool,
    pub(crate) errors: Errors,
    shown: Vec<Shown>,
    /// Services with mistakes: routes to them are not mistakes as well.
    pub(crate) broken: Vec<String>,
}

impl Reader<'_> {
    fn settings(&mut self, mut tree: Table, file: Option<PathBuf>, routes: &[String]) -> Settings {
        let mut part = |section: Section| tree.take(section.key()).map(|entry| entry.item);
        let tls = part(Section::Tls);
        let limits = part(Section::Limits);
        let timeouts = part(Section::Timeouts);
        let access_log = part(Section::AccessLog);
        let compression = part(Section::Compression);
        let websocket = part(Section::WebSocket);
        let calls = part(Section::Calls);
        let static_cache = part(Section::StaticCache);
        let watch = part(Section::Dev);
        let services = part(Section::Service);
        let file_routes = part(Section::Route);

        let top = self.values(Section::Top, tree, "at the top level", "");
        let services = self.services(services, &top);
        let routes = self.routes(file_routes, routes, &services);
        Settings {
            file,
            listen: self.listen(&top),
            tls: self.tls(tls),
            threads: top.count("threads").map_or(self.cores.min(4), size),
            busy_poll: busy_poll(&top, self.cores),
            limits: self.limits(limits),
            timeouts: self.timeouts(timeouts),
            trusted_proxies: self.trusted_proxies(&top),
            server_header: self.field_value(&top, "server_header"),
            log: log(&top),
            metrics_listen: self.metrics_listen(&top),
            access_log: self.access_log(access_log),
            compression: self.compression(compression),
            websocket: self.websocket(websocket),
            calls: self.calls(calls),
            watch: self.watch(watch),
            static_cache: self.static_cache(static_cache),
            runtime_dir: top.path("runtime_dir"),
            dev: false,
            services,
            routes,
        }
    }

    /// Reads a table and keeps what `config show` prints.
    pub(crate) fn values(&mut self, section: Section, table: Table, heading: &str, shown: &str) -> Values {
        let values = section::read(section, table, heading, self.folders, &mut self.errors);
        // Defaults of keys that may not go with the route's goal or the service's language would not read back.
        let reads_back = |key: &Key, place: &Place| {
            *place != Place::Default
                || section.is_single()
                || section == Section::Service && !PYTHON_KEYS.contains(&key.name) && !NODE_KEYS.contains(&key.name)
        };
        let values_shown = values.all().filter(|(key, _, place)| reads_back(key, place));
        self.shown.extend(values_shown.map(|(key, value, place)| Shown::new(shown, key, value, place)));
        values
    }

    /// Reads a section that stands at most once.
    fn single(&mut self, section: Section, item: Option<Item>) -> Values {
        let table = match item {
            None => Table::default(),
            Some(Item { value: Value::Table(table), .. }) => table,
            Some(Item { value, place }) => {
                let what = format!("\"{0}\" is a table, not {1}; write [{0}]", section.key(), section::describe(&value));
                self.errors.add(&place, what);
                Table::default()
            }
        };
        self.values(section, table, &format!("in [{}]", section.key()), &format!("[{}]", section.key()))
    }

    fn listen(&mut self, top: &Values) -> Vec<crate::Listen> {
        let mut listen: Vec<crate::Listen> = Vec::new();
        for (text, place) in top.texts("listen") {
            match units::listen(&text, self.folders.of(&place)) {
                Ok(crate::Listen::Tcp(address)) if address.port() == 0 => listen.push(crate::Listen::Tcp(address)),
                Ok(address) if listen.contains(&address) => {
                    self.errors.add_value(&place, "listen", &format!("\"{text}\" stands twice"));
                }
                Ok(address) => listen.push(address),
                Err(what) => self.errors.add_value(&place, "listen", &what),
            }
        }
        if let (true, Some(place)) = (top.texts("listen").is_empty(), top.written("listen")) {
            self.errors.add(place, "listen: the list is empty; name an address such as \"127.0.0.1:8000\"");
        }
        listen
    }

    fn metrics_listen(&mut self, top: &Values) -> Option<crate::Listen> {
        let (text, place) = (top.text("metrics_listen")?, top.written("metrics_listen")?);
        units::listen(&text, self.folders.of(place)).map_err(|what| self.errors.add_value(place, "metrics_listen", &what)).ok()
    }

    fn tls(&mut self, item: Option<Item>) -> Option<Tls> {
        let place = item.as_ref()?.place.clone();
        let values = self.single(Section::Tls, item);
        let (certificates, keys) = (values.texts("certificate"), values.texts("key"));
        let (files, key_files) = (certificates.len(), keys.len());
        if files == 0 || key_files == 0 {
            let missing = if files == 0 { "certificate" } else { "key" };
            self.errors.add(&place, format!("TLS needs a certificate and its key; \"{missing}\" is missing in [tls]"));
            return None;
        }
        if files != key_files {
            self.errors.add(
                &place,
                format!(
                    "[tls] names {files} certificates and {key_files} keys; each certificate needs its key, in the same order"
                ),
            );
            return None;
        }
        let pairs = certificates.into_iter().zip(keys);
        Some(Tls {
            certificates: pairs
                .map(|((certificate, _), (key, _))| CertificateFiles { certificate: certificate.into(), key: key.into() })
                .collect(),
            reload_interval: values.duration("reload_interval").unwrap_or_default(),
        })
    }

    fn limits(&mut self, item: Option<Item>) -> Limits {
        let values = self.single(Section::Limits, item);
        Limits {
            header_bytes_max: size(values.bytes("header_bytes_max").unwrap_or_default()),
            fields_max: size(values.count("fields_max").unwrap_or_default()),
            target_bytes_max: size(values.bytes("target_bytes_max").unwrap_or_default()),
            body_bytes_max: values.bytes("body_bytes_max"),
            connections_max: size(values.count("connections_max").unwrap_or_default()),
            requests_per_connection_max: values.count("requests_per_connection_max"),
            http2_streams_max: u32::try_from(values.count("http2_streams_max").unwrap_or_default()).unwrap_or(u32::MAX),
        }
    }

    fn timeouts(&mut self, item: Option<Item>) -> Timeouts {
        let values = self.single(Section::Timeouts, item);
        let time = |name| values.duration(name).unwrap_or_default();
        Timeouts {
            header: time("header"),
            body_idle: time("body_idle"),
            response: values.duration("response"),
            response_idle: values.duration("response_idle"),
            client_write_idle: time("client_write_idle"),
            keep_alive: time("keep_alive"),
            drain: time("drain"),
        }
    }

    fn trusted_proxies(&mut self, top: &Values) -> TrustedProxies {
        let mut trusted = TrustedProxies::default();
        for (text, place) in top.texts("trusted_proxies") {
            let network = text.parse::<IpNet>().or_else(|_| text.parse::<std::net::IpAddr>().map(IpNet::from));
            match network {
                _ if text == "unix" => trusted.unix = true,
                Ok(network) => trusted.networks.push(network),
                Err(_) => self.errors.add(
                    &place,
                    format!(
                        "trusted_proxies: \"{text}\" is no address or network; write \"10.0.0.1\", \"10.0.0.0/8\" or \"unix\""
                    ),
                ),
            }
        }
        trusted
    }

    /// A text that is sent as a field's value: no control characters (RFC 9110 §5.5).
    pub(crate) fn field_value(&mut self, values: &Values, name: &str) -> Option<String> {
        let text = values.text(name)?;
        if let Some((_, place)) = values.find(name)
            && !is_field_value(&text)
        {
            self.errors.add(place, format!("{name}: a field's value holds visible ASCII characters and spaces only"));
        }
        Some(text)
    }

    fn access_log(&mut self, item: Option<Item>) -> AccessLog {
        let values = self.single(Section::AccessLog, item);
        AccessLog {
            format: match values.text("format").as_deref() {
                Some("text") => AccessFormat::Text,
                Some("json") => AccessFormat::Json,
                Some("combined") => AccessFormat::Combined,
                _ => AccessFormat::Off,
            },
            path: values.path("path"),
            when_full: match values.text("when_full").as_deref() {
                Some("block") => WhenFull::Block,
                _ => WhenFull::Drop,
            },
            buffer_bytes_max: size(values.bytes("buffer_bytes_max").unwrap_or_default()),
        }
    }

    fn compression(&mut self, item: Option<Item>) -> Compression {
        let values = self.single(Section::Compression, item);
        let encoding = |(name, _): &(String, Place)| match name.as_str() {
            "br" => Encoding::Brotli,
            "zstd" => Encoding::Zstd,
            _ => Encoding::Gzip,
        };
        Compression {
            enabled: values.boolean("enabled"),
            encodings: values.texts("encodings").iter().map(encoding).collect(),
            min_bytes: values.bytes("min_bytes").unwrap_or_default(),
            types: values.texts("types").into_iter().map(|(text, _)| text.to_ascii_lowercase()).collect(),
        }
    }

    fn websocket(&mut self, item: Option<Item>) -> WebSocket {
        let values = self.single(Section::WebSocket, item);
        let number = |name| values.count(name).unwrap_or_default();
        let queue_full = |name| match values.text(name).as_deref() {
            Some("drop-socket") => QueueFull::DropSocket,
            Some("backpressure") => QueueFull::Backpressure,
            _ => QueueFull::DropOldest,
        };
        let compression = WebSocketCompression {
            bytes_min: size(values.bytes("compression_min_bytes").unwrap_or_default()),
            level: u32::try_from(number("compression_level")).unwrap_or(1),
            context_takeover: values.boolean("context_takeover"),
            window_bits_max: u8::try_from(number("window_bits_max")).unwrap_or(15),
        };
        WebSocket {
            message_bytes_max: values.bytes("message_bytes_max").unwrap_or_default(),
            send_buffer_bytes_max: size(values.bytes("send_buffer_bytes_max").unwrap_or_default()),
            send_queue_bytes_max: size(values.bytes("send_queue_bytes_max").unwrap_or_default()),
            send_queue_full: queue_full("send_queue_full"),
            ping_interval: values.duration("ping_interval"),
            ping_timeout: values.duration("ping_timeout").unwrap_or_default(),
            idle_timeout: values.duration("idle_timeout"),
            close_timeout: values.duration("close_timeout").unwrap_or_default(),
            compression: values.boolean("compression").then_some(compression),
            topic_queue_bytes_max: size(values.bytes("topic_queue_bytes_max").unwrap_or_default()),
            topic_queue_full: queue_full("topic_queue_full"),
        }
    }

    fn calls(&mut self, item: Option<Item>) -> Calls {
        let values = self.single(Section::Calls, item);
        Calls {
            timeout: values.duration("timeout"),
            in_flight_max: size(values.count("in_flight_max").unwrap_or_default()),
            message_bytes_max: values.bytes("message_bytes_max").unwrap_or_default(),
            queue_max: size(values.count("queue_max").unwrap_or_default()),
            shared_bytes_min: values.bytes("shared_bytes_min"),
            shared_bytes_max: values.bytes("shared_bytes_max").unwrap_or_default(),
            start_timeout: values.duration("start_timeout").unwrap_or_default(),
            workers: size(values.count("workers").unwrap_or_default()),
        }
    }

    fn watch(&mut self, item: Option<Item>) -> Watch {
        let values = self.single(Section::Dev, item);
        let texts = |name| values.texts(name).into_iter().map(|(text, _)| text);
        Watch {
            folders: texts("watch").map(PathBuf::from).collect(),
            ignore: texts("ignore").collect(),
            endings: texts("endings").map(|end| end.trim_start_matches('.').to_owned()).collect(),
            debounce: values.duration("debounce").unwrap_or_default(),
            folders_max: size(values.count("folders_max").unwrap_or_default()),
            types: values.boolean("types"),
        }
    }

    fn static_cache(&mut self, item: Option<Item>) -> StaticCache {
        let values = self.single(Section::StaticCache, item);
        StaticCache {
            bytes_max: size(values.bytes("bytes_max").unwrap_or_default()),
            file_bytes_max: size(values.bytes("file_bytes_max").unwrap_or_default()),
            revalidate: values.duration("revalidate").unwrap_or_default(),
        }
    }

    fn services(&mut self, item: Option<Item>, top: &Values) -> Vec<Service> {
        let table = match item {
            None => return Vec::new(),
            Some(Item { value: Value::Table(table), .. }) => table,
            Some(Item { place, .. }) => {
                self.errors.add(&place, "\"service\" is a table of services; write [service.NAME]");
                return Vec::new();
            }
        };
        let mut services = Vec::new();
        for entry in table.entries {
            let (name, place) = (entry.key, entry.place);
            if !target::is_name(&name) {
                self.errors.add(&place, target::wrong_name(&name));
                self.broken.push(name);
                continue;
            }
            let Value::Table(table) = entry.item.value else {
                self.errors.add(&place, format!("\"service.{name}\" is a table; write [service.{name}]"));
                self.broken.push(name);
                continue;
            };
            let heading = format!("[service.{name}]");
            let mistakes = self.errors.0.len();
            let values = self.values(Section::Service, table, &format!("in {heading}"), &heading);
            let service = if self.errors.0.len() == mistakes { self.service(&name, place, &values, top) } else { None };
            match service {
                Some(service) => services.push(service),
                None => self.broken.push(name),
            }
        }
        services
    }

    fn service(&mut self, name: &str, place: Place, values: &Values, top: &Values) -> Option<Service> {
        let app = self.app(name, &place, values)?;
        self.check_language(&app, name, values);
        let time = |name| values.duration(name).unwrap_or_default();
        let list = |name| values.texts(name).into_iter().map(|(text, _)| text).collect();
        let longest = time("restart_delay_max");
        if longest < time("restart_delay_min") {
            // A default stands on no line: what was written is to blame.
            match (values.written("restart_delay_max"), values.written("restart_delay_min")) {
                (Some(at), _) => self.errors.add(at, "restart_delay_max: it is shorter than restart_delay_min"),
                (None, at) => {
                    let longest = units::show_duration(longest);
                    let what = format!("restart_delay_min: it is longer than restart_delay_max, {longest}; raise that as well");
                    self.errors.add(at.unwrap_or(&place), what);
                }
            }
        }
        Some(Service {
            name: name.into(),
            app,
            workers: workers(values, top, self.cores),
            cwd: values.path("cwd").unwrap_or_else(|| self.folders.of(&place).to_owned()),
            args: list("args"),
            env: self.environment(values),
            interpreter: self.interpreter(values),
            interpreter_args: list("interpreter_args"),
            root: self.folders.of(&place).to_owned(),
            interface: match values.text("interface").as_deref() {
                Some("asgi") => Interface::Asgi,
                Some("wsgi") => Interface::Wsgi,
                _ => Interface::Auto,
            },
            factory: values.boolean("factory"),
            lifespan: match values.text("lifespan").as_deref() {
                Some("on") => Lifespan::On,
                Some("off") => Lifespan::Off,
                _ => Lifespan::Auto,
            },
            event_loop: match values.text("event_loop").as_deref() {
                Some("asyncio") => EventLoop::Asyncio,
                Some("uvloop") => EventLoop::Uvloop,
                _ => EventLoop::Auto,
            },
            threads_max: values.count("threads_max").map(size),
            survive: values.boolean("survive"),
            sticky: self.sticky(values),
            port: values.count("port").and_then(|port| u16::try_from(port).ok()),
            start_timeout: time("start_timeout"),
            stop_timeout: time("stop_timeout"),
            queue_requests_max: size(values.count("queue_requests_max").unwrap_or_default()),
            queue_timeout: time("queue_timeout"),
            in_flight_max: size(values.count("in_flight_max").unwrap_or_default()),
            recycle_requests: values.count("recycle_requests"),
            recycle_memory_bytes: values.bytes("recycle_memory"),
            restart_delay_min: time("restart_delay_min"),
            restart_delay_max: time("restart_delay_max"),
            hang_timeout: values.duration("hang_timeout"),
            call_timeout: values.duration_or_off("call_timeout"),
            place,
        })
    }

    fn app(&mut self, name: &str, place: &Place, values: &Values) -> Option<App> {
        match (values.path("node"), values.text("python")) {
            (Some(path), None) => match target::node_entry(&path) {
                Ok(entry) => Some(App::Node { entry }),
                Err(what) => {
                    self.errors.add(values.written("node").unwrap_or(place), format!("node: {what}"));
                    None
                }
            },
            (None, Some(text)) => match target::python_target(&text) {
                Ok(target) => Some(App::Python { target }),
                Err(what) => {
                    self.errors.add(values.written("python").unwrap_or(place), format!("python: {what}"));
                    None
                }
            },
            (Some(_), Some(_)) => {
                self.errors
                    .add(place, format!("[service.{name}] has both \"node\" and \"python\"; one service runs one of them"));
                None
            }
            (None, None) => {
                self.errors
                    .add(place, format!("[service.{name}] runs nothing; add node = \"server.js\" or python = \"main:app\""));
                None
            }
        }
    }

    fn check_language(&mut self, app: &App, name: &str, values: &Values) {
        let (foreign, language): (&[&str], _) = match app {
            App::Node { .. } => (&PYTHON_KEYS, "Python"),
            App::Python { .. } => (&NODE_KEYS, "Node"),
        };
        for key in foreign {
            if let Some(place) = values.written(key) {
                self.errors.add(place, format!("\"{key}\" is for {language} services, and [service.{name}] is none; remove it"));
            }
        }
    }

    fn sticky(&mut self, values: &Values) -> Option<Sticky> {
        let text = values.text("sticky")?;
        let sticky = Sticky::parse(&text);
        if let (None, Some((_, place))) = (&sticky, values.find("sticky")) {
            let what =
                format!("\"{text}\" is none of \"socket.io\", \"address\", \"cookie:NAME\", \"header:NAME\" and \"query:NAME\"");
            self.errors.add_value(place, "sticky", &what);
        }
        sticky
    }

    fn environment(&mut self, values: &Values) -> Vec<(String, String)> {
        let entries = values.map("env");
        for (name, value) in &entries {
            let wrong = name.is_empty() || name.contains(['=', '\0']) || value.contains('\0');
            let own = OWN_VARIABLES.contains(&name.as_str());
            if let Some(place) = values.written("env").filter(|_| wrong || own) {
                let why = if own { "Bireme sets it itself" } else { "no environment can hold it" };
                self.errors.add(place, format!("env: {name:?} cannot be set: {why}"));
            }
        }
        entries
    }

    fn interpreter(&self, values: &Values) -> Option<PathBuf> {
        let text = values.text("interpreter")?;
        let (_, place) = values.find("interpreter")?;
        let is_path = text.contains('/') || text.starts_with('.');
        Some(if is_path { self.folders.of(place).join(text).components().collect() } else { text.into() })
    }
}

/// What every worker is told through its environment.
pub const OWN_VARIABLES: [&str; 10] = [
    "BIREME_LINK",
    "BIREME_LINKS",
    "BIREME_TOKEN",
    "BIREME_OPTIONS",
    "BIREME_BROKER",
    "BIREME_BROKER_TOKEN",
    "BIREME_CALLS",
    "BIREME_SELF",
    "BIREME_SERVICE",
    "BIREME_WORKER",
];

/// Longest busy wait of a front thread, unless the file says another.
const BUSY_POLL_US: u64 = 100;

/// Keys of a service that only one language has.
const PYTHON_KEYS: [&str; 5] = ["interface", "factory", "lifespan", "event_loop", "threads_max"];
const NODE_KEYS: [&str; 1] = ["port"];

/// One core alone would only keep the workers from theirs.
fn busy_poll(top: &Values, cores: usize) -> Option<Duration> {
    let chosen = top.find("busy_poll_us").map(|_| top.count("busy_poll_us"));
    chosen.unwrap_or((cores > 1).then_some(BUSY_POLL_US)).map(Duration::from_micros)
}

/// `--workers` and `BIREME_WORKERS` are for all services; the file's own top level is for those that do not say.
fn workers(values: &Values, top: &Values, cores: usize) -> usize {
    let from_file = |place: &Place| matches!(place, Place::File { .. });
    let outer = top.written("workers").filter(|place| !from_file(place));
    let inner = values.written("workers").filter(|place| outer.is_none() || !from_file(place));
    let chosen = if inner.is_some() { values.count("workers") } else { top.count("workers") };
    chosen.map_or(cores, size)
}

fn log(top: &Values) -> Log {
    Log {
        format: if top.text("log_format").as_deref() == Some("json") { LogFormat::Json } else { LogFormat::Text },
        level: match top.text("log_level").as_deref() {
            Some("error") => LogLevel::Error,
            Some("warn") => LogLevel::Warn,
            Some("debug") => LogLevel::Debug,
            Some("trace") => LogLevel::Trace,
            _ => LogLevel::Info,
        },
    }
}

fn size(value: u64) -> usize {
    usize::try_from(value).unwrap_or(usize::MAX)
}

pub(crate) fn is_field_value(text: &str) -> bool {
    text.bytes().all(|byte| (b' '..=b'~').contains(&byte) || byte == b'\t')
}
