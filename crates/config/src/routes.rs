//! Routes: what is matched, and where it goes.

use crate::document::{Item, Table, Value};
use crate::error::{Place, nearest};
use crate::keys::Section;
use crate::resolve::{Reader, is_field_value};
use crate::section::{Typed, Values};
use crate::{Route, Service, Static};

impl Reader<'_> {
    /// Routes of flags, then of the file; without any, everything goes to the only service.
    pub(crate) fn routes(&mut self, item: Option<Item>, flags: &[String], services: &[Service]) -> Vec<Route> {
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
        if routes.is_empty() && self.errors.0.is_empty() && !self.calls_only {
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
        let shadow = self.shadow(&to, &values, services);
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
            response_timeout: values.duration_or_off("response_timeout"),
            shadow,
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
                self.errors
                    .add(at, format!("\"{key}\" goes with {}, and this route has \"{goal}\"; remove it", goals.join(" or ")));
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
                self.errors
                    .add(place, format!("match: a static route has no parameters before its end; \"{path}\" maps to no folder"));
                None
            }
        }
    }

    fn shadow(&mut self, to: &crate::Target, values: &Values, services: &[Service]) -> Option<crate::Shadow> {
        let Some(name) = values.text("shadow") else {
            if let Some(place) = values.written("sample").cloned() {
                self.errors.add(&place, "sample: there is no shadow to be asked; name a service with shadow = \"…\"");
            }
            return None;
        };
        let place = values.written("shadow").cloned().unwrap_or(Place::Default);
        let known: Vec<&str> = services.iter().map(|service| &*service.name).collect();
        let Some(service) = services.iter().find(|service| *service.name == name) else {
            let there = known.join("\", \"");
            self.errors.add(&place, format!("shadow: there is no service \"{name}\"; there are \"{there}\""));
            return None;
        };
        if matches!(to, crate::Target::Service(own) if **own == *name) {
            self.errors.add(&place, format!("shadow: \"{name}\" answers this route itself"));
        }
        Some(crate::Shadow { service: service.name.clone(), sample_millionths: values.part("sample")? })
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

/// Keys of a route that go with some goals only.
const GOAL_KEYS: [(&str, &[&str]); 12] = [
    ("shadow", &["to"]),
    ("sample", &["to"]),
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
        shadow: None,
        response_fields: Vec::new(),
    }
}

/// RFC 9110 §5.6.2.
fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}
