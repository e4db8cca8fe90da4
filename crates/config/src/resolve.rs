//! Layers become settings: flag before environment before file before default.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use ipnet::IpNet;

use crate::document::{self, Item, Table, Value};
use crate::error::{Errors, Mistake, Place, nearest};
use crate::keys::{KEYS, Key, Section};
use crate::section::{self, Folders, Typed, Values};
use crate::show::Shown;
use crate::target::{self, Target};
use crate::{
    AccessFormat, AccessLog, App, Compression, Encoding, EventLoop, Interface, Lifespan, Limits, Log, LogFormat, LogLevel,
    Route, Service, Settings, Static, StaticCache, Timeouts, Tls, TrustedProxies, WhenFull, units,
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

    let mut reader = Reader { folders, cores: sources.cores.max(1), errors, shown: Vec::new(), broken: Vec::new() };
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

fn overlay_environment(tree: &mut Table, environment: &[(String, String)], warnings: &mut Vec<Mistake>) {
    for (name, text) in environment {
        if !name.starts_with("BIREME_") || text.is_empty() {
            continue;
        }
        let place = Place::Environment(name.clone());
        let Some(key) = KEYS.iter().find(|key| key.variable().as_ref() == Some(name)) else {
            warnings.extend(unknown_variable(name, place));
            continue;
        };
        set(tree, key, Item { value: Value::Text(text.clone()), place });
    }
}

/// Variables that are not settings: Bireme's own, and those that a worker passes on to its children.
const OTHER_VARIABLES: [&str; 8] = [
    "BIREME_CONFIG",
    "BIREME_RUNTIME",
    "BIREME_SERVICE",
    "BIREME_WORKER",
    "BIREME_LINK",
    "BIREME_LINKS",
    "BIREME_TOKEN",
    "BIREME_OPTIONS",
];

/// A warning, not an error: Kubernetes gives every container variables such as `BIREME_PORT` when a Service is called bireme.
fn unknown_variable(name: &str, place: Place) -> Option<Mistake> {
    if OTHER_VARIABLES.contains(&name) {
        return None;
    }
    let known: Vec<String> = KEYS.iter().filter_map(Key::variable).collect();
    let hint = nearest(name, known.iter().map(String::as_str)).map(|near| format!("; did you mean {near}?"));
    let what = format!("no setting has this name, so it is passed over{}", hint.unwrap_or_default());
    Some(Mistake { place: Some(place), what })
}

fn set(tree: &mut Table, key: &Key, item: Item) {
    let table = match key.section {
        Section::Top => Some(&mut *tree),
        section => tree.table_mut(section.key(), &item.place),
    };
    // Where the file has something else in the table's place, reading the file says so.
    if let Some(table) = table {
        table.set(key.name, item);
    }
}

fn overlay_flags(tree: &mut Table, flags: &[Flag], errors: &mut Errors) {
    for flag in flags {
        let place = Place::Flag(flag.name.clone());
        let mut items: Vec<Item> =
            flag.values.iter().map(|text| Item { value: Value::Text(text.clone()), place: place.clone() }).collect();
        let item = match items.len() {
            1 => items.remove(0),
            _ => Item { value: Value::List(items), place: place.clone() },
        };
        if let Some(key) = KEYS.iter().find(|key| key.section.is_single() && key.path() == flag.key) {
            set(tree, key, item);
            continue;
        }
        let service = flag.key.strip_prefix("service.").and_then(|rest| rest.split_once('.'));
        let service = service.filter(|(_, key)| Section::Service.keys().any(|known| known.name == *key));
        let Some((name, key)) = service else {
            let paths: Vec<String> = KEYS.iter().map(Key::path).collect();
            let hint = nearest(&flag.key, paths.iter().map(String::as_str));
            let hint = hint.map_or_else(String::new, |near| format!("; did you mean \"{near}\"?"));
            errors.add(&place, format!("no key \"{}\"{hint}", flag.key));
            continue;
        };
        let services = tree.table_mut("service", &place);
        if let Some(table) = services.and_then(|services| services.table_mut(name, &place)) {
            table.set(key, item);
        }
    }
}

fn overlay_targets(tree: &mut Table, flags: &Flags, folders: Folders<'_>, errors: &mut Errors) {
    let mut named: Vec<(String, &String)> = Vec::new();
    for text in &flags.targets {
        let place = Place::Flag(format!("argument \"{text}\""));
        let Target { name, app } = match target::read(text, folders.current) {
            Ok(target) => target,
            Err(what) => {
                errors.add(&place, what);
                continue;
            }
        };
        if let Some((_, other)) = named.iter().find(|(known, _)| *known == name) {
            errors.add(&place, format!("a service \"{name}\" was named by \"{other}\" already; name both, as in \"{name}2={text}\""));
            continue;
        }
        let Some(service) = tree.table_mut("service", &place).and_then(|services| services.table_mut(&name, &place)) else {
            continue;
        };
        named.push((name, text));
        service.take("node");
        service.take("python");
        let (key, value) = match app {
            App::Node { entry } => ("node", entry.to_string_lossy().into_owned()),
            App::Python { target } => ("python", target),
        };
        let item = |value| Item { value, place: place.clone() };
        service.set(key, item(Value::Text(value)));
        // A program named on the command line runs where the command line is.
        if service.get("cwd").is_none() {
            service.set("cwd", item(Value::Text(folders.current.to_string_lossy().into_owned())));
        }
        if !flags.args.is_empty() {
            let args = flags.args.iter().map(|arg| item(Value::Text(arg.clone()))).collect();
            service.set("args", item(Value::List(args)));
        }
    }
    if !flags.args.is_empty() && flags.targets.len() != 1 {
        errors.add_anywhere(format!(
            "arguments after \"--\" are for one application, and {} were named; write them in bireme.toml as \
             service.NAME.args",
            flags.targets.len()
        ));
    }
}

struct Reader<'f> {
    folders: Folders<'f>,
    cores: usize,
    errors: Errors,
    shown: Vec<Shown>,
    /// Services with mistakes: routes to them are not mistakes as well.
    broken: Vec<String>,
}

impl Reader<'_> {
    fn settings(&mut self, mut tree: Table, file: Option<PathBuf>, routes: &[String]) -> Settings {
        let mut part = |section: Section| tree.take(section.key()).map(|entry| entry.item);
        let tls = part(Section::Tls);
        let limits = part(Section::Limits);
        let timeouts = part(Section::Timeouts);
        let access_log = part(Section::AccessLog);
        let compression = part(Section::Compression);
        let static_cache = part(Section::StaticCache);
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
            limits: self.limits(limits),
            timeouts: self.timeouts(timeouts),
            trusted_proxies: self.trusted_proxies(&top),
            server_header: self.field_value(&top, "server_header"),
            log: log(&top),
            access_log: self.access_log(access_log),
            compression: self.compression(compression),
            static_cache: self.static_cache(static_cache),
            runtime_dir: top.path("runtime_dir"),
            services,
            routes,
        }
    }

    /// Reads a table and keeps what `config show` prints.
    fn values(&mut self, section: Section, table: Table, heading: &str, shown: &str) -> Values {
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

    fn tls(&mut self, item: Option<Item>) -> Option<Tls> {
        let place = item.as_ref()?.place.clone();
        let values = self.single(Section::Tls, item);
        match (values.path("certificate"), values.path("key")) {
            (Some(certificate), Some(key)) => {
                Some(Tls { certificate, key, reload_interval: values.duration("reload_interval").unwrap_or_default() })
            }
            (certificate, _) => {
                let missing = if certificate.is_none() { "certificate" } else { "key" };
                self.errors.add(&place, format!("TLS needs a certificate and its key; \"{missing}\" is missing in [tls]"));
                None
            }
        }
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
                    format!("trusted_proxies: \"{text}\" is no address or network; write \"10.0.0.1\", \"10.0.0.0/8\" or \"unix\""),
                ),
            }
        }
        trusted
    }

    /// A text that is sent as a field's value: no control characters (RFC 9110 §5.5).
    fn field_value(&mut self, values: &Values, name: &str) -> Option<String> {
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
        if let Some((delay, (_, at))) = values.duration("restart_delay_max").zip(values.find("restart_delay_max"))
            && delay < time("restart_delay_min")
        {
            self.errors.add(at, "restart_delay_max: it is shorter than restart_delay_min");
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
                self.errors.add(place, format!("[service.{name}] has both \"node\" and \"python\"; one service runs one of them"));
                None
            }
            (None, None) => {
                self.errors.add(
                    place,
                    format!("[service.{name}] runs nothing; add node = \"server.js\" or python = \"main:app\""),
                );
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

    fn environment(&mut self, values: &Values) -> Vec<(String, String)> {
        let entries = values.map("env");
        for (name, value) in &entries {
            let wrong = name.is_empty() || name.contains(['=', '\0']) || value.contains('\0');
            let own = ["BIREME_LINK", "BIREME_LINKS", "BIREME_TOKEN", "BIREME_OPTIONS"].contains(&name.as_str());
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

    fn routes(&mut self, item: Option<Item>, flags: &[String], services: &[Service]) -> Vec<Route> {
        let mut routes = Vec::new();
        for text in flags {
            routes.extend(self.flag_route(text, services));
        }
        match item {
            None => {}
            Some(Item { value: Value::List(items), .. }) => {
                for item in items {
                    routes.extend(self.route(item, services));
                }
            }
            Some(Item { place, .. }) => self.errors.add(&place, "\"route\" is a list of tables; write [[route]]"),
        }
        if routes.is_empty() && self.errors.0.is_empty() {
            match services {
                [] => self.errors.add_anywhere(
                    "there is nothing to serve: name an application (\"bireme serve ./server.js\", \"bireme serve \
                     main:app\"), or write a bireme.toml with a service",
                ),
                [only] => routes.push(everything_to(only)),
                [first, .., last] => self.errors.add_anywhere(format!(
                    "{} services and no routes: say which requests go where, such as --route '/api/*={}' --route '/*={}', or \
                     [[route]] in bireme.toml",
                    services.len(),
                    last.name,
                    first.name
                )),
            }
        }
        routes
    }

    fn flag_route(&mut self, text: &str, services: &[Service]) -> Option<Route> {
        let place = Place::Flag(format!("--route '{text}'"));
        let item = |value: &str| Item { value: Value::Text(value.to_owned()), place: place.clone() };
        let mut table = Table::default();
        let Some((pattern, to)) = text.rsplit_once('=').filter(|(pattern, to)| !pattern.is_empty() && !to.is_empty()) else {
            self.errors.add(&place, "a route is written PATTERN=SERVICE, such as '/api/*=ml', or PATTERN=static:FOLDER");
            return None;
        };
        table.set("match", item(pattern));
        match to.strip_prefix("static:") {
            Some(folder) => table.set("static", item(folder)),
            None => table.set("to", item(to)),
        }
        self.route(Item { value: Value::Table(table), place }, services)
    }

    fn route(&mut self, item: Item, services: &[Service]) -> Option<Route> {
        let Value::Table(table) = item.value else {
            self.errors.add(&item.place, "\"route\" is a list of tables; write [[route]]");
            return None;
        };
        let mistakes = self.errors.0.len();
        let values = self.values(Section::Route, table, "in [[route]]", "[[route]]");
        if self.errors.0.len() > mistakes {
            return None;
        }
        let place = values.written("match").unwrap_or(&item.place).clone();
        let Some(path) = values.text("match") else {
            self.errors.add(&place, "a route needs the pattern it matches, such as match = \"/api/*\"");
            return None;
        };
        let to = self.goal(&path, &place, &values, services)?;
        let strip_prefix = self.strip_prefix(&path, &values)?;
        let methods = values.texts("methods").into_iter().map(|(text, _)| text.to_ascii_uppercase()).collect();
        for (name, value) in values.map("response_fields") {
            if !is_token(&name) || !is_field_value(&value) {
                self.errors.add(&place, format!("response_fields: {name:?} = {value:?} is no field of a response"));
            }
        }
        let off = |name: &str| matches!(values.find(name), Some((Typed::Off, _)));
        Some(Route {
            place,
            hosts: values.texts("hosts").into_iter().map(|(text, _)| text).collect(),
            methods,
            path,
            strip_prefix,
            to,
            body_bytes_max: if off("body_bytes_max") { Some(None) } else { values.bytes("body_bytes_max").map(Some) },
            response_timeout: if off("response_timeout") { Some(None) } else { values.duration("response_timeout").map(Some) },
            response_fields: values.map("response_fields"),
        })
    }

    fn goal(&mut self, path: &str, place: &Place, values: &Values, services: &[Service]) -> Option<crate::Target> {
        let goals = ["to", "static", "redirect", "respond"];
        let given: Vec<&str> = goals.into_iter().filter(|name| values.written(name).is_some()).collect();
        let [goal] = given[..] else {
            self.errors.add(
                place,
                match given[..] {
                    [] => "the route goes nowhere; add to = \"SERVICE\", static = \"FOLDER\", redirect = \"URL\" or respond = \"TEXT\"".to_owned(),
                    _ => format!("the route has {}; a route has one goal", given.join(" and ")),
                },
            );
            return None;
        };
        for (key, goals) in GOAL_KEYS {
            if let Some(at) = values.written(key)
                && !goals.contains(&goal)
            {
                self.errors.add(at, format!("\"{key}\" goes with {}, and this route has \"{goal}\"; remove it", goals.join(" or ")));
            }
        }
        let status = values.count("status").and_then(|status| u16::try_from(status).ok());
        match goal {
            "to" => {
                let name = values.text("to")?;
                let Some(service) = services.iter().find(|service| *service.name == *name) else {
                    self.unknown_service(&name, values.written("to").unwrap_or(place), services);
                    return None;
                };
                Some(crate::Target::Service(service.name.clone()))
            }
            "static" => Some(crate::Target::Static(Static {
                root: values.path("static")?,
                prefix: self.static_prefix(path, place)?,
                index: values.texts("index").into_iter().map(|(text, _)| text).collect(),
                fallback: values.text("fallback"),
                cache_control: self.field_value(values, "cache_control"),
                precompressed: values.boolean("precompressed"),
                dotfiles: values.boolean("dotfiles"),
            })),
            "redirect" => {
                let status = status.unwrap_or(308);
                if let Some(at) = values.written("status")
                    && ![301, 302, 303, 307, 308].contains(&status)
                {
                    self.errors.add(at, format!("status: a redirect is 301, 302, 303, 307 or 308, not {status}"));
                }
                let location = self.field_value(values, "redirect")?;
                self.check_location(&location, path, values.written("redirect").unwrap_or(place));
                Some(crate::Target::Redirect { status, location })
            }
            _ => Some(crate::Target::Respond {
                status: status.unwrap_or(200),
                content_type: self.field_value(values, "content_type")?,
                body: values.text("respond")?,
            }),
        }
    }

    /// Every `{name}` of a redirect is something that can be filled in.
    fn check_location(&mut self, location: &str, path: &str, place: &Place) {
        let own = |segment: &'_ str| {
            let name = segment.strip_prefix('{')?.strip_suffix('}')?;
            Some(name.trim_start_matches('*').to_owned())
        };
        let known: Vec<String> =
            ["path", "query", "host"].map(str::to_owned).into_iter().chain(path.split('/').filter_map(own)).collect();
        let mut rest = location;
        while let Some((_, after)) = rest.split_once('{') {
            let Some((name, after)) = after.split_once('}') else {
                self.errors.add(place, format!("redirect: \"{location}\" has a \"{{\" that nothing closes"));
                return;
            };
            if !known.iter().any(|one| one == name) {
                let names: Vec<String> = known.iter().map(|name| format!("{{{name}}}")).collect();
                self.errors.add(place, format!("redirect: nothing is known as {{{name}}}; there are {}", names.join(", ")));
            }
            rest = after;
        }
    }

    fn unknown_service(&mut self, name: &str, place: &Place, services: &[Service]) {
        if self.broken.iter().any(|broken| broken == name) {
            return;
        }
        let known: Vec<&str> = services.iter().map(|service| &*service.name).collect();
        let what = match (nearest(name, known.iter().copied()), known.is_empty()) {
            (Some(near), _) => format!("to: no service \"{name}\"; did you mean \"{near}\"?"),
            (None, true) => format!("to: no service \"{name}\"; add [service.{name}]"),
            (None, false) => format!("to: no service \"{name}\"; there are {}", known.join(", ")),
        };
        self.errors.add(place, what);
    }

    fn static_prefix(&mut self, path: &str, place: &Place) -> Option<String> {
        match literal_prefix(path) {
            Some(prefix) => Some(prefix.to_owned()),
            // A pattern without a wildcard serves one path: the folder's own index.
            None if !path.contains(['*', '{']) => Some(path.trim_end_matches('/').to_owned()),
            None => {
                self.errors.add(place, format!("match: a static route has no parameters before its end; \"{path}\" maps to no folder"));
                None
            }
        }
    }

    fn strip_prefix(&mut self, path: &str, values: &Values) -> Option<Option<String>> {
        let (value, place) = values.find("strip_prefix")?;
        let literal = literal_prefix(path).unwrap_or_else(|| path.split(['*', '{']).next().unwrap_or_default());
        let literal = literal.trim_end_matches('/');
        match value {
            Typed::Boolean(false) => Some(None),
            Typed::Boolean(true) if literal.is_empty() => {
                self.errors.add(place, format!("strip_prefix: \"{path}\" has no prefix to strip"));
                None
            }
            Typed::Boolean(true) => Some(Some(literal.to_owned())),
            Typed::Text(prefix) => {
                let prefix = prefix.trim_end_matches('/');
                let rest = literal.strip_prefix(prefix);
                if prefix.is_empty() || !rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/')) {
                    self.errors.add(place, format!("strip_prefix: \"{prefix}\" is not how \"{path}\" begins"));
                    return None;
                }
                Some(Some(prefix.to_owned()))
            }
            _ => Some(None),
        }
    }
}

/// Keys of a service that only one language has.
const PYTHON_KEYS: [&str; 5] = ["interface", "factory", "lifespan", "event_loop", "threads_max"];
const NODE_KEYS: [&str; 1] = ["port"];

/// Keys of a route that go with some goals only.
const GOAL_KEYS: [(&str, &[&str]); 10] = [
    ("strip_prefix", &["to"]),
    ("index", &["static"]),
    ("fallback", &["static"]),
    ("cache_control", &["static"]),
    ("precompressed", &["static"]),
    ("dotfiles", &["static"]),
    ("status", &["redirect", "respond"]),
    ("content_type", &["respond"]),
    ("body_bytes_max", &["to"]),
    ("response_timeout", &["to"]),
];

/// What stands before `/*` or `/{*name}`.
fn literal_prefix(path: &str) -> Option<&str> {
    let (prefix, last) = path.rsplit_once('/')?;
    ((last == "*" || last.starts_with("{*")) && !prefix.contains('{')).then_some(prefix)
}

fn everything_to(service: &Service) -> Route {
    Route {
        place: service.place.clone(),
        hosts: Vec::new(),
        methods: Vec::new(),
        path: "/*".to_owned(),
        strip_prefix: None,
        to: crate::Target::Service(service.name.clone()),
        body_bytes_max: None,
        response_timeout: None,
        response_fields: Vec::new(),
    }
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

fn is_field_value(text: &str) -> bool {
    text.bytes().all(|byte| (b' '..=b'~').contains(&byte) || byte == b'\t')
}

/// RFC 9110 §5.6.2.
fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}
