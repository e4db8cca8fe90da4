//! Mistakes that only the file system shows, and settings that are allowed but hardly meant.

use std::fmt;
use std::path::Path;

use crate::error::Place;
use crate::{App, Listen, Settings, Target};

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Works, but is hardly meant.
    Warning,
    /// Cannot work.
    Error,
}

/// Something that `bireme check` reports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// Where it was written.
    pub place: Option<Place>,
    /// What is wrong and what to do.
    pub what: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = if self.severity == Severity::Error { "error" } else { "warning" };
        match &self.place {
            Some(place) => write!(out, "{severity}: {place}: {}", self.what),
            None => write!(out, "{severity}: {}", self.what),
        }
    }
}

/// Looks at the file system and at what settings mean together.
pub fn check(settings: &Settings) -> Vec<Finding> {
    let mut findings = Findings(Vec::new());
    findings.files(settings);
    findings.services(settings);
    findings.routes(settings);
    findings.0
}

struct Findings(Vec<Finding>);

impl Findings {
    fn error(&mut self, place: Option<&Place>, what: String) {
        self.0.push(Finding { severity: Severity::Error, place: place.cloned(), what });
    }

    fn warning(&mut self, place: Option<&Place>, what: String) {
        self.0.push(Finding { severity: Severity::Warning, place: place.cloned(), what });
    }

    fn files(&mut self, settings: &Settings) {
        if let Some(tls) = &settings.tls {
            let files = tls.certificates.iter().flat_map(|files| [("certificate", &files.certificate), ("key", &files.key)]);
            for (key, path) in files {
                if let Err(error) = std::fs::File::open(path) {
                    self.error(None, format!("tls.{key}: cannot read {}: {error}", path.display()));
                }
            }
        }
        let listen = settings.listen.iter().map(|listen| ("listen", listen));
        for (key, listen) in listen.chain(settings.metrics_listen.iter().map(|listen| ("metrics_listen", listen))) {
            let Listen::Unix(path) = listen else { continue };
            self.parent_folder(key, path);
            // sun_path holds 108 bytes, one of them for the final NUL (unix(7)).
            if path.as_os_str().len() > 107 {
                self.error(None, format!("{key}: {} is longer than the 107 bytes a socket's path may have", path.display()));
            }
        }
        if let Some(path) = &settings.access_log.path {
            self.parent_folder("access_log.path", path);
        }
        if settings.trusted_proxies.networks.iter().any(|network| network.prefix_len() == 0) {
            let what = "trusted_proxies: every client is believed to be a proxy, so any client can claim any address; name \
                        your proxies' networks";
            self.warning(None, what.to_owned());
        }
    }

    fn parent_folder(&mut self, key: &str, path: &Path) {
        if let Some(folder) = path.parent().filter(|folder| !folder.is_dir()) {
            self.error(None, format!("{key}: the folder {} does not exist", folder.display()));
        }
    }

    fn services(&mut self, settings: &Settings) {
        for service in &settings.services {
            let place = Some(&service.place);
            if let App::Node { entry } = &service.app
                && !entry.is_file()
            {
                let inside = entry.strip_prefix(&service.root).ok().map(|path| service.cwd.join(path));
                let hint = match inside.filter(|path| path.is_file()) {
                    Some(path) => format!("; paths are relative to the config file, so write {}", path.display()),
                    None => String::new(),
                };
                self.error(place, format!("{}: the program {} does not exist{hint}", service.name, entry.display()));
            }
            if !service.cwd.is_dir() {
                self.error(place, format!("{}: the folder {} does not exist", service.name, service.cwd.display()));
            }
            if let Some(path) = service.interpreter.as_ref().filter(|path| path.is_absolute() && !path.exists()) {
                self.error(place, format!("{}: the interpreter {} does not exist", service.name, path.display()));
            }
            let used = settings.routes.iter().any(|route| {
                let shadow = route.shadow.as_ref().is_some_and(|shadow| shadow.service == service.name);
                shadow || matches!(&route.to, Target::Service(name) if *name == service.name)
            });
            if !used {
                self.warning(place, format!("{}: no route leads to this service, so it gets no requests", service.name));
            }
        }
    }

    fn routes(&mut self, settings: &Settings) {
        for route in &settings.routes {
            let Target::Static(files) = &route.to else { continue };
            let place = Some(&route.place);
            if !files.root.is_dir() {
                self.error(place, format!("static: the folder {} does not exist", files.root.display()));
            } else if let Some(file) = files.fallback.as_ref().filter(|file| !files.root.join(file).is_file()) {
                self.error(place, format!("fallback: there is no {file} in {}", files.root.display()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is found in a service `a` that answers everything, and more.
    fn found(before: &str, after: &str) -> Vec<String> {
        let text = format!(
            "{before}[service.a]\npython = \"a:app\"\n[[route]]\nmatch = \"/*\"\nto = \"a\"\n{after}[service.b]\npython = \"b:app\"\n"
        );
        let settings = Settings::from_toml(&text, Path::new("/")).unwrap();
        check(&settings).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_service_that_shadows_a_route_is_used() {
        assert_eq!(found("", ""), ["warning: bireme.toml:6: b: no route leads to this service, so it gets no requests"]);
        assert_eq!(found("", "shadow = \"b\"\n"), [""; 0]);
    }

    #[test]
    fn sockets_need_their_folders() {
        for key in ["listen", "metrics_listen"] {
            let there = found(&format!("{key} = \"unix:x.sock\"\n"), "shadow = \"b\"\n");
            let missing = found(&format!("{key} = \"unix:/not/there/x.sock\"\n"), "shadow = \"b\"\n");
            assert_eq!((there, missing), (Vec::new(), vec![format!("error: {key}: the folder /not/there does not exist")]));
        }
    }
}
