//! What people write, and what comes of it.

use std::path::Path;
use std::time::Duration;

use config::{App, CertificateFiles, File, Flag, Flags, Listen, Resolved, Settings, Sources, Sticky, Target, resolve};

/// A file, variables `NAME=value` and flags `key=value`, in a folder without files.
fn sources(toml: &str, environment: &[&str], flags: &[&str]) -> Sources {
    let pair = |text: &&str| text.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned())).expect("a pair");
    let flag = |text: &&str| {
        let (key, value) = pair(text);
        Flag { name: format!("--set {key}"), key, values: vec![value] }
    };
    let file = File { path: "/srv/app/bireme.toml".into(), name: "bireme.toml".into(), text: toml.into() };
    Sources {
        file: Some(file),
        environment: environment.iter().map(pair).collect(),
        flags: Flags { values: flags.iter().map(flag).collect(), ..Flags::default() },
        current: "/home/me".into(),
        cores: 3,
        calls_only: false,
    }
}

fn with_targets(targets: &[&str], routes: &[&str], args: &[&str]) -> Sources {
    let list = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
    let flags = Flags { targets: list(targets), routes: list(routes), args: list(args), values: Vec::new() };
    Sources { file: None, flags, current: "/home/me".into(), cores: 3, ..Sources::default() }
}

fn settings(toml: &str, environment: &[&str], flags: &[&str]) -> Settings {
    match resolve(&sources(toml, environment, flags)) {
        Ok(Resolved { settings, .. }) => settings,
        Err(errors) => panic!("{errors}\nin\n{toml}"),
    }
}

/// The whole text of what is said about a file.
#[track_caller]
fn check_mistake(toml: &str, expected: &str) {
    let errors = resolve(&sources(toml, &[], &[])).expect_err(toml);
    assert_eq!(errors.to_string(), expected.trim(), "for\n{toml}");
}

const WEB: &str = "[service.web]\nnode = \"web/server.js\"\n";

#[test]
fn one_core_is_never_kept_from_the_workers_by_waiting() {
    let busy_poll = |cores, environment: &[&str]| {
        let sources = Sources { cores, ..sources(WEB, environment, &[]) };
        resolve(&sources).map(|resolved| resolved.settings.busy_poll).ok().flatten()
    };
    assert_eq!(busy_poll(1, &[]), None);
    assert_eq!(busy_poll(2, &[]), Some(Duration::from_micros(100)));
    assert_eq!(busy_poll(1, &["BIREME_BUSY_POLL_US=7"]), Some(Duration::from_micros(7)));
    assert_eq!(busy_poll(2, &["BIREME_BUSY_POLL_US=off"]), None);
}

#[test]
fn a_file_becomes_settings() {
    let settings = settings(
        r#"
            listen = ["127.0.0.1:8000", "unix:run/web.sock"]

            [service.web]
            node = "web/server.js"

            [service.ml]
            python = "ml.app:app"
            workers = 2
            env = { MODEL = "large", DEPTH = 3 }
            recycle_memory = "1GiB"

            [[route]]
            match = "/api/ml/*"
            to = "ml"
            strip_prefix = true
            body_bytes_max = "off"

            [[route]]
            match = "/assets/*"
            static = "web/public"

            [[route]]
            match = "/*"
            to = "web"
        "#,
        &[],
        &[],
    );
    assert_eq!(settings.listen[1], Listen::Unix("/srv/app/run/web.sock".into()));
    let [web, ml] = &settings.services[..] else { panic!("{:?}", settings.services) };
    assert_eq!(web.app, App::Node { entry: "/srv/app/web/server.js".into() });
    assert_eq!((web.workers, web.cwd.as_path()), (3, Path::new("/srv/app")));
    assert_eq!(ml.app, App::Python { target: "ml.app:app".into() });
    assert_eq!((ml.workers, ml.recycle_memory_bytes), (2, Some(1 << 30)));
    assert_eq!(ml.env, [("MODEL".to_owned(), "large".to_owned()), ("DEPTH".to_owned(), "3".to_owned())]);
    let [api, assets, rest] = &settings.routes[..] else { panic!("{:?}", settings.routes) };
    assert_eq!((api.strip_prefix.as_deref(), api.body_bytes_max), (Some("/api/ml"), Some(None)));
    let Target::Static(files) = &assets.to else { panic!("{assets:?}") };
    assert_eq!((files.root.as_path(), files.prefix.as_str()), (Path::new("/srv/app/web/public"), "/assets"));
    assert_eq!((&rest.to, rest.place.to_string()), (&Target::Service("web".into()), "bireme.toml:24".to_owned()));
}

#[test]
fn defaults_hold_where_nothing_is_written() {
    let settings = settings(WEB, &[], &[]);
    assert_eq!(settings.listen, [Listen::Tcp("127.0.0.1:8000".parse().unwrap())]);
    assert_eq!((settings.threads, settings.services[0].workers), (3, 3));
    assert_eq!(settings.limits.header_bytes_max, 64 << 10);
    assert_eq!(settings.limits.body_bytes_max, Some(1 << 30));
    assert_eq!(settings.limits.requests_per_connection_max, None);
    assert_eq!(settings.timeouts.header, Duration::from_secs(10));
    assert_eq!(settings.timeouts.response_idle, None);
    assert_eq!(settings.tls, None);
    let route = &settings.routes[0];
    assert_eq!((route.path.as_str(), &route.to), ("/*", &Target::Service("web".into())));
}

#[test]
fn a_flag_beats_the_environment_beats_the_file() {
    let file = format!("threads = 1\nworkers = 1\n[timeouts]\nheader = \"1s\"\n{WEB}");
    let check = |environment: &[&str], flags: &[&str], expected: (usize, usize, u64)| {
        let settings = settings(&file, environment, flags);
        assert_eq!((settings.threads, settings.services[0].workers, settings.timeouts.header.as_secs()), expected);
    };
    check(&[], &[], (1, 1, 1));
    check(&["BIREME_THREADS=2", "BIREME_WORKERS=2", "BIREME_TIMEOUTS_HEADER=2s"], &[], (2, 2, 2));
    check(&["BIREME_THREADS=2"], &["threads=3", "service.web.workers=4", "timeouts.header=3s"], (3, 4, 3));
    check(&["BIREME_THREADS="], &[], (1, 1, 1));
}

#[test]
fn workers_of_a_flag_are_for_every_service() {
    let file = format!("{WEB}workers = 1\n[service.api]\npython = \"api\"\n[[route]]\nmatch = \"/*\"\nto = \"api\"\n");
    let workers = |environment: &[&str], flags: &[&str]| -> Vec<usize> {
        settings(&file, environment, flags).services.iter().map(|service| service.workers).collect()
    };
    assert_eq!(workers(&[], &[]), [1, 3]);
    assert_eq!(workers(&["BIREME_WORKERS=5"], &[]), [5, 5]);
    assert_eq!(workers(&[], &["workers=6", "service.api.workers=2"]), [6, 2]);
}

#[test]
fn lists_in_the_environment_are_split_at_commas() {
    let settings = settings(WEB, &["BIREME_LISTEN=:80, unix:/run/x", "BIREME_TRUSTED_PROXIES=10.0.0.0/8,::1,unix"], &[]);
    assert_eq!(settings.listen.len(), 2);
    assert_eq!((settings.trusted_proxies.networks.len(), settings.trusted_proxies.unix), (2, true));
}

#[test]
fn paths_are_relative_to_where_they_are_written() {
    let settings = settings(
        &format!("{WEB}interpreter = \"./node\"\n[access_log]\npath = \"log/access\"\n"),
        &["BIREME_TLS_CERTIFICATE=cert.pem", "BIREME_TLS_KEY=/etc/key.pem"],
        &["runtime_dir=run"],
    );
    let tls = settings.tls.unwrap();
    let files = |certificate: &str, key: &str| CertificateFiles { certificate: certificate.into(), key: key.into() };
    assert_eq!(tls.certificates, [files("/home/me/cert.pem", "/etc/key.pem")]);
    assert_eq!(settings.runtime_dir, Some("/home/me/run".into()));
    assert_eq!(settings.access_log.path, Some("/srv/app/log/access".into()));
    assert_eq!(settings.services[0].interpreter, Some("/srv/app/node".into()));
}

#[test]
fn unknown_keys_name_the_nearest() {
    check_mistake(
        "[service.ml]\npython = \"a\"\nworker = 2\n",
        "bireme.toml:3: unknown key \"worker\" in [service.ml]; did you mean \"workers\"?",
    );
    check_mistake(
        &format!("lisen = 1\n{WEB}"),
        "bireme.toml:1: unknown key \"lisen\" at the top level; did you mean \"listen\"?",
    );
    check_mistake(
        &format!("{WEB}[timeout]\nheader = \"1s\"\n"),
        "bireme.toml:3: unknown key \"timeout\" at the top level; did you mean \"timeouts\"?",
    );
    check_mistake(
        &format!("{WEB}[tls]\ncertificate = \"a\"\nkey = \"b\"\nfoobar = 1\n"),
        "bireme.toml:6: unknown key \"foobar\" in [tls]; known are certificate, key, reload_interval",
    );
    check_mistake(
        &format!("{WEB}[[route]]\nmatch = \"/*\"\nto = \"web\"\nmetods = \"GET\"\n"),
        "bireme.toml:6: unknown key \"metods\" in [[route]]; did you mean \"methods\"?",
    );
}

#[test]
fn wrong_values_say_what_to_write() {
    let top = |line: &str, expected: &str| check_mistake(&format!("{line}\n{WEB}"), &format!("bireme.toml:1: {expected}"));
    top("threads = 0", "threads: 0 is not between 1 and 256");
    top("threads = \"two\"", "threads: it takes a whole number between 1 and 256, not a text");
    top("threads = 1.5", "threads: it takes a whole number between 1 and 256, not a fraction");
    top("listen = 8000", "listen: it takes a text or a list of texts, not a number");
    top("listen = []", "listen: the list is empty; name an address such as \"127.0.0.1:8000\"");
    top("listen = [\":80\", \":80\"]", "listen: \":80\" stands twice");
    top(
        "listen = \"example.com:80\"",
        "listen: \"example.com:80\" names a host; Bireme listens on addresses: write \"127.0.0.1:PORT\", \"[::]:PORT\", \":PORT\" or \"localhost:PORT\"",
    );
    top("log_format = \"jsn\"", "log_format: \"jsn\" is not one of \"text\", \"json\"; did you mean \"json\"?");
    top(
        "trusted_proxies = \"proxy.local\"",
        "trusted_proxies: \"proxy.local\" is no address or network; write \"10.0.0.1\", \"10.0.0.0/8\" or \"unix\"",
    );
    top("server_header = \"a\\r\\nb\"", "server_header: a field's value holds visible ASCII characters and spaces only");
    top(
        "timeouts.header = \"10\"",
        "timeouts.header: \"10\" is no duration; write it with its unit, such as \"500ms\", \"10s\" or \"1m30s\"",
    );
    top("timeouts.header = 10", "timeouts.header: it takes a duration such as \"10s\", not a number");
    top("timeouts.header = \"0s\"", "timeouts.header: it cannot be zero");
    top(
        "timeouts.header = \"off\"",
        "timeouts.header: \"off\" is no duration; write it with its unit, such as \"500ms\", \"10s\" or \"1m30s\"",
    );
    top("limits.header_bytes_max = \"1\"", "limits.header_bytes_max: 1 is below the least, 1KiB");
    top("limits.target_bytes_max = \"1MiB\"", "limits.target_bytes_max: 1MiB is above the most, 63KiB");
    top("limits.body_bytes_max = -1", "limits.body_bytes_max: -1 is below zero");
    top("limits = 3", "\"limits\" is a table, not a number; write [limits]");
    top(
        "tls.key = \"k.pem\"\ntls.certificate = [\"a.pem\", \"b.pem\"]",
        "[tls] names 2 certificates and 1 keys; each certificate needs its key, in the same order",
    );
    top("tls.key = \"k.pem\"", "TLS needs a certificate and its key; \"certificate\" is missing in [tls]");
}

#[test]
fn services_say_what_they_lack() {
    check_mistake(
        "[service.web]\n",
        "bireme.toml:1: [service.web] runs nothing; add node = \"server.js\" or python = \"main:app\"",
    );
    check_mistake(
        "[service.web]\nnode = \"a.js\"\npython = \"a\"\n",
        "bireme.toml:1: [service.web] has both \"node\" and \"python\"; one service runs one of them",
    );
    check_mistake(
        "[service.Web]\nnode = \"a.js\"\n",
        "bireme.toml:1: \"Web\" is no name for a service; use lower-case letters, digits, \"-\" and \"_\", beginning with a letter, at most 64",
    );
    check_mistake(
        &format!("{WEB}lifespan = \"on\"\n"),
        "bireme.toml:3: \"lifespan\" is for Python services, and [service.web] is none; remove it",
    );
    for name in ["BIREME_TOKEN", "BIREME_WORKER"] {
        check_mistake(
            &format!("{WEB}env = {{ {name} = \"x\" }}\n"),
            &format!("bireme.toml:3: env: \"{name}\" cannot be set: Bireme sets it itself"),
        );
    }
    check_mistake(
        &format!("{WEB}restart_delay_min = \"1m\"\nrestart_delay_max = \"10s\"\n"),
        "bireme.toml:4: restart_delay_max: it is shorter than restart_delay_min",
    );
    check_mistake(
        &format!("{WEB}restart_delay_min = \"1m\"\n"),
        "bireme.toml:3: restart_delay_min: it is longer than restart_delay_max, 30s; raise that as well",
    );
    check_mistake(
        "[service.ml]\npython = \"main:\"\n",
        "bireme.toml:2: python: \"main:\" has no attribute after the colon; write \"main:app\", or \"main:create_app()\" for a factory",
    );
    check_mistake("service = 1\n", "bireme.toml:1: \"service\" is a table of services; write [service.NAME]");
}

#[test]
fn routes_say_what_they_lack() {
    let route = |text: &str, expected: &str| check_mistake(&format!("{WEB}[[route]]\n{text}\n"), expected);
    route("to = \"web\"", "bireme.toml:3: a route needs the pattern it matches, such as match = \"/api/*\"");
    route(
        "match = \"/*\"",
        "bireme.toml:4: the route goes nowhere; add to = \"SERVICE\", static = \"FOLDER\", redirect = \"URL\" or respond = \"TEXT\"",
    );
    route(
        "match = \"/*\"\nto = \"web\"\nstatic = \"public\"",
        "bireme.toml:4: the route has to and static; a route has one goal",
    );
    route("match = \"/*\"\nto = \"wbe\"", "bireme.toml:5: to: no service \"wbe\"; did you mean \"web\"?");
    route("match = \"/*\"\nto = \"ml\"", "bireme.toml:5: to: no service \"ml\"; there are web");
    route(
        "match = \"/*\"\nto = \"web\"\nindex = \"a\"",
        "bireme.toml:6: \"index\" goes with static, and this route has \"to\"; remove it",
    );
    route(
        "match = \"/a\"\nredirect = \"/b\"\nstatus = 304",
        "bireme.toml:6: status: a redirect is 301, 302, 303, 307 or 308, not 304",
    );
    route(
        "match = \"/{lang}/*\"\nredirect = \"/{lnag}{query}\"",
        "bireme.toml:5: redirect: nothing is known as {lnag}; there are {path}, {query}, {host}, {lang}",
    );
    route("match = \"/*\"\nredirect = \"/{a\"", "bireme.toml:5: redirect: \"/{a\" has a \"{\" that nothing closes");
    route("match = \"/*\"\nto = \"web\"\nstrip_prefix = true", "bireme.toml:6: strip_prefix: \"/*\" has no prefix to strip");
    route(
        "match = \"/api/*\"\nto = \"web\"\nstrip_prefix = \"/ap\"",
        "bireme.toml:6: strip_prefix: \"/ap\" is not how \"/api/*\" begins",
    );
    route(
        "match = \"/{a}/*\"\nstatic = \"x\"",
        "bireme.toml:4: match: a static route has no parameters before its end; \"/{a}/*\" maps to no folder",
    );
    check_mistake(&format!("route = 1\n{WEB}"), "bireme.toml:1: \"route\" is a list of tables; write [[route]]");
    check_mistake(
        "[service.web]\nnod = \"a.js\"\n[[route]]\nmatch = \"/*\"\nto = \"web\"\n",
        "bireme.toml:2: unknown key \"nod\" in [service.web]; did you mean \"node\"?",
    );
}

#[test]
fn every_mistake_of_a_file_is_said_at_once() {
    check_mistake(
        "theads = 1\n[service.web]\nnode = \"a.js\"\nworkers = 0\n[timeouts]\ndrain = \"1\"\n",
        "bireme.toml:1: unknown key \"theads\" at the top level; did you mean \"threads\"?\n\
         bireme.toml:4: workers: 0 is not between 1 and 1024\n\
         bireme.toml:6: timeouts.drain: \"1\" is no duration; write it with its unit, such as \"500ms\", \"10s\" or \"1m30s\"",
    );
}

#[test]
fn applications_on_the_command_line_need_no_file() {
    let check = |targets: &[&str], routes: &[&str], args: &[&str], expected: &str| {
        let got = match resolve(&with_targets(targets, routes, args)) {
            Err(errors) => errors.to_string(),
            Ok(Resolved { settings, .. }) => {
                let services = settings.services.iter().map(|service| format!("{} in {}", service.name, service.cwd.display()));
                let routes = settings.routes.iter().map(|route| match &route.to {
                    Target::Service(name) => format!("{}={name}", route.path),
                    Target::Static(files) => format!("{}={} at {}", route.path, files.root.display(), files.prefix),
                    other => format!("{other:?}"),
                });
                services.chain(routes).collect::<Vec<_>>().join(", ")
            }
        };
        assert_eq!(got, expected, "{targets:?} {routes:?}");
    };
    check(&["./server.js"], &[], &[], "server in /home/me, /*=server");
    check(&["main:app"], &[], &["--verbose"], "main in /home/me, /*=main");
    check(
        &["web=./server.js", "ml=app:app"],
        &["/api/*=ml", "/assets/*=static:web/public", "/*=web"],
        &[],
        "web in /home/me, ml in /home/me, /api/*=ml, /assets/*=/home/me/web/public at /assets, /*=web",
    );
    check(
        &[],
        &[],
        &[],
        "there is nothing to serve: name an application (\"bireme serve ./server.js\", \"bireme serve main:app\"), or write a bireme.toml with a service",
    );
    check(
        &["web=./server.js", "ml=app:app"],
        &[],
        &[],
        "2 services and no routes: say which requests go where, such as --route '/api/*=ml' --route '/*=web', or [[route]] in bireme.toml",
    );
    check(
        &["./app.js", "app:app"],
        &[],
        &[],
        "argument \"app:app\": a service \"app\" was named by \"./app.js\" already; name both, as in \"app2=app:app\"",
    );
    check(
        &["./app.js"],
        &["/x"],
        &[],
        "--route '/x': a route is written PATTERN=SERVICE, such as '/api/*=ml', or PATTERN=static:FOLDER",
    );
    check(&["./app.js"], &["/x=ap"], &[], "--route '/x=ap': to: no service \"ap\"; did you mean \"app\"?");
    check(
        &["web=./a.js", "ml=b:c"],
        &["/*=web"],
        &["-v"],
        "arguments after \"--\" are for one application, and 2 were named; write them in bireme.toml as service.NAME.args",
    );
}

#[test]
fn a_target_replaces_the_files_application() {
    let mut sources = sources(&format!("{WEB}workers = 7\n"), &[], &[]);
    sources.flags.targets = vec!["web=other:app".into()];
    let settings = resolve(&sources).unwrap().settings;
    assert_eq!(settings.services.len(), 1);
    assert_eq!(settings.services[0].app, App::Python { target: "other:app".into() });
    assert_eq!((settings.services[0].workers, settings.services[0].cwd.as_path()), (7, Path::new("/home/me")));
}

#[test]
fn unknown_variables_and_flags_are_said() {
    let ours = ["BIREME_WORKER=1", "BIREME_BIN=/opt/bireme", "BIREME_SUITE_UPSTREAM=http://127.0.0.1:1"];
    let others = ["BIREME_LISTN=:1", "BIREME_PORT=tcp://10.0.0.1:80"];
    let Resolved { warnings, .. } = resolve(&sources(WEB, &[&ours[..], &others[..]].concat(), &[])).unwrap();
    let warnings: Vec<String> = warnings.iter().map(ToString::to_string).collect();
    assert_eq!(
        warnings,
        [
            "environment variable BIREME_LISTN: no setting has this name, so it is passed over; did you mean BIREME_LISTEN?",
            "environment variable BIREME_PORT: no setting has this name, so it is passed over",
        ]
    );
    let errors = resolve(&sources(WEB, &["BIREME_THREADS=many"], &["limits.field_max=9", "service.web.wokers=1"])).unwrap_err();
    assert_eq!(
        errors.to_string(),
        "--set limits.field_max: no key \"limits.field_max\"; did you mean \"limits.fields_max\"?\n\
         --set service.web.wokers: no key \"service.web.wokers\"; did you mean \"service.NAME.workers\"?\n\
         environment variable BIREME_THREADS: threads: \"many\" is not a whole number between 1 and 256"
    );
    let errors = resolve(&sources(WEB, &[], &["route.match=/*"])).unwrap_err();
    assert_eq!(
        errors.to_string(),
        "--set route.match: no key \"route.match\"; routes are written in the file, or as --route PATTERN=SERVICE"
    );
}

#[test]
fn what_is_shown_gives_the_same_settings_again() {
    let toml = format!(
        "{WEB}env = {{ A = \"\\\"quoted\\\"\\n\" }}\nargs = [\"-v\"]\n[tls]\ncertificate = \"c\"\nkey = \"k\"\n\
         [[route]]\nmatch = \"/a/*\"\nto = \"web\"\nstrip_prefix = true\n[[route]]\nmatch = \"/*\"\nto = \"web\"\nresponse_timeout = \"off\"\n"
    );
    let Resolved { settings: first, shown, .. } = resolve(&sources(&toml, &[], &["workers=2"])).unwrap();
    let mut text = String::new();
    config::show(&shown, &mut text).unwrap();
    assert!(text.contains("workers = 2  # --set workers\n"), "{text}");
    assert!(text.contains("key = [\"/srv/app/k\"]  # bireme.toml:7\n"), "{text}");
    let mut second = settings(&text, &[], &[]);
    // Lines differ, and nothing else; a number of workers that a flag set is each service's own there.
    second.services[0].place = first.services[0].place.clone();
    for (new, old) in second.routes.iter_mut().zip(&first.routes) {
        new.place = old.place.clone();
    }
    assert_eq!(second, first, "{text}");
}

proptest::proptest! {
    /// Whatever a file holds, there are settings or there are mistakes with places; nothing panics.
    #[test]
    fn no_file_is_too_strange(
        key in "(listen|threads|env|node|python|match|to|static|redirect|strip_prefix|tls|limits|service|route|body_bytes_max|response_timeout)",
        value in "(\"[ -~]{0,12}\"|-?[0-9]{1,20}|true|\\[\\]|\\[1, \"a\"\\]|\\{\\}|\\{ a = 1 \\}|1\\.5|\"off\"|1979-05-27)",
        place in 0usize..4,
    ) {
        let line = format!("{key} = {value}\n");
        let parts = [String::new(), WEB.to_owned(), "[[route]]\nmatch = \"/*\"\nto = \"web\"\n".to_owned()];
        let toml: String = parts.iter().enumerate().flat_map(|(at, part)| {
            [if at == place { line.clone() } else { String::new() }, part.clone()]
        }).chain((place == 3).then(|| line.clone())).collect();
        if let Err(errors) = resolve(&sources(&toml, &[], &[])) {
            proptest::prop_assert!(!errors.0.is_empty());
            for mistake in errors.0 {
                proptest::prop_assert!(mistake.place.is_some() && !mistake.what.is_empty(), "{mistake} in\n{toml}");
            }
        }
    }
}

#[test]
fn a_service_says_what_keeps_a_client_with_one_worker() {
    let sticky = |text: &str| settings(&format!("{WEB}sticky = \"{text}\"\n"), &[], &[]).services[0].sticky.clone();
    assert_eq!(settings(WEB, &[], &[]).services[0].sticky, None);
    assert_eq!(sticky("socket.io"), Some(Sticky::SocketIo));
    assert_eq!(sticky("address"), Some(Sticky::Address));
    assert_eq!(sticky("cookie:id"), Some(Sticky::Cookie("id".into())));
    assert_eq!(sticky("header:X-User"), Some(Sticky::Header("x-user".into())));
    assert_eq!(sticky("query:room"), Some(Sticky::Query("room".into())));
    for text in ["cookies:id", "cookie:", "query:a=b", "address:1", "sid"] {
        check_mistake(
            &format!("{WEB}sticky = \"{text}\"\n"),
            &format!(
                "bireme.toml:3: sticky: \"{text}\" is none of \"socket.io\", \"address\", \"cookie:NAME\", \"header:NAME\" and \"query:NAME\""
            ),
        );
    }
}
