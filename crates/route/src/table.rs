//! The ordered table of rules.

use std::borrow::Cow;

use crate::host::{self, Host};
use crate::normal;
use crate::pattern::{Error, Params, Pattern};

/// One rule as it is written. A rule's index is its place in the list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rule {
    /// `example.com` or `*.example.com`; empty for every host.
    pub hosts: Vec<String>,
    /// Methods as they stand in requests; empty for every method. `GET` includes `HEAD` (RFC 9110 §9.3.2).
    pub methods: Vec<String>,
    /// In the language of [`pattern`](crate::pattern).
    pub path: String,
}

/// Rules in order, ready to be searched.
#[derive(Clone, Debug)]
pub struct Table {
    rules: Vec<Entry>,
    /// No rule asks for a host: none needs to be looked at.
    any_host: bool,
}

#[derive(Clone, Debug)]
struct Entry {
    hosts: Vec<Host>,
    methods: Vec<Box<str>>,
    path: Pattern,
}

/// What a search found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Match<'t, 'p> {
    /// The first rule that matches.
    Found(Found<'t, 'p>),
    /// Rules match host and path, but none the method. The value for `allow`: `GET, HEAD, POST`.
    MethodNotAllowed(String),
    /// No rule matches host and path.
    NotFound,
}

/// A rule that matches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found<'t, 'p> {
    /// The rule's place in the list given to [`Table::new`].
    pub index: usize,
    /// The pattern's parameters; no allocation if it has none.
    pub params: Params<'t, 'p>,
}

impl Table {
    /// Reads the rules.
    pub fn new(rules: Vec<Rule>) -> Result<Table, Error> {
        let rules: Vec<Entry> = rules
            .into_iter()
            .enumerate()
            .map(|(at, rule)| Entry::read(rule).map_err(|(text, why)| Error { rule: at, text, why }))
            .collect::<Result<_, _>>()?;
        let any_host = rules.iter().all(|rule| rule.hosts.is_empty());
        Ok(Table { rules, any_host })
    }

    /// The first rule for a request. `host` is the `host` field or `:authority`, with or without port; `path` is the
    /// target's path as it was sent, without its query.
    ///
    /// A path with escaped slashes can be read in two ways, and applications differ. Both are tried, and the earlier
    /// of the two rules wins, so that a rule that protects `/admin/*` also stands before `/admin%2Fusers`.
    pub fn find<'t, 'p>(&'t self, method: &[u8], host: &[u8], path: &'p [u8]) -> Match<'t, 'p> {
        let host = if self.any_host { b"" } else { host::without_port(host) };
        if normal::is_plain(path) {
            return self.search(method, host, path);
        }
        let first = self.search_owned(method, host, &normal::normalise(path));
        let Some(slashed) = normal::with_slashes(path) else { return first };
        let second = self.search_owned(method, host, &slashed);
        match (&first, &second) {
            (Match::Found(a), Match::Found(b)) if b.index < a.index => second,
            (Match::Found(_), _) => first,
            (_, Match::Found(_)) | (Match::NotFound, _) => second,
            _ => first,
        }
    }

    /// Rules that no request can reach: each with the earlier rule that takes all of its requests.
    pub fn unreachable(&self) -> Vec<(usize, usize)> {
        let mut found = Vec::new();
        for (at, rule) in self.rules.iter().enumerate() {
            found.extend(self.rules[..at].iter().position(|earlier| earlier.covers(rule)).map(|by| (at, by)));
        }
        found
    }

    #[inline]
    fn search<'t, 'p>(&'t self, method: &[u8], host: &[u8], path: &'p [u8]) -> Match<'t, 'p> {
        for (index, rule) in self.rules.iter().enumerate() {
            if rule.takes_method(method)
                && rule.takes_host(host)
                && let Some(params) = rule.path.matches(path)
            {
                return Match::Found(Found { index, params });
            }
        }
        self.refuse(host, path)
    }

    fn search_owned(&self, method: &[u8], host: &[u8], path: &[u8]) -> Match<'_, 'static> {
        match self.search(method, host, path) {
            Match::Found(Found { index, params }) => {
                let own = |(name, value): (_, Cow<'_, [u8]>)| (name, Cow::Owned(value.into_owned()));
                Match::Found(Found { index, params: params.into_iter().map(own).collect() })
            }
            Match::MethodNotAllowed(allow) => Match::MethodNotAllowed(allow),
            Match::NotFound => Match::NotFound,
        }
    }

    #[cold]
    fn refuse<'p>(&self, host: &[u8], path: &'p [u8]) -> Match<'_, 'p> {
        let mut allow: Vec<&str> = Vec::new();
        for rule in &self.rules {
            if rule.takes_host(host) && rule.path.matches(path).is_some() {
                for method in &rule.methods {
                    if !allow.contains(&&**method) {
                        allow.push(method);
                    }
                }
            }
        }
        if allow.is_empty() { Match::NotFound } else { Match::MethodNotAllowed(allow.join(", ")) }
    }
}

impl Entry {
    fn read(rule: Rule) -> Result<Entry, (String, &'static str)> {
        let path = Pattern::parse(&rule.path).map_err(|why| (rule.path, why))?;
        let mut hosts = Vec::with_capacity(rule.hosts.len());
        for text in rule.hosts {
            hosts.push(Host::parse(&text).map_err(|why| (text, why))?);
        }
        let mut methods: Vec<Box<str>> = Vec::with_capacity(rule.methods.len() + 1);
        for text in rule.methods {
            if text.is_empty() || !text.bytes().all(is_token) {
                return Err((text, "a method is a word such as \"GET\""));
            }
            let get = text == "GET";
            methods.push(text.into());
            if get {
                methods.push("HEAD".into());
            }
        }
        Ok(Entry { hosts, methods, path })
    }

    #[inline]
    fn takes_method(&self, method: &[u8]) -> bool {
        self.methods.is_empty() || self.methods.iter().any(|mine| mine.as_bytes() == method)
    }

    #[inline]
    fn takes_host(&self, host: &[u8]) -> bool {
        self.hosts.is_empty() || self.hosts.iter().any(|mine| mine.matches(host))
    }

    fn covers(&self, other: &Entry) -> bool {
        let hosts = self.hosts.is_empty()
            || !other.hosts.is_empty() && other.hosts.iter().all(|theirs| self.hosts.iter().any(|mine| mine.covers(theirs)));
        let methods = self.methods.is_empty()
            || !other.methods.is_empty() && other.methods.iter().all(|theirs| self.methods.contains(theirs));
        hosts && methods && self.path.covers(&other.path)
    }
}

/// RFC 9110 §5.6.2.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Rules as `[METHOD,… ][host]/path`, and the rule each request falls under: `0`, `2 id=7`, `404`, `405 GET, HEAD`.
    fn check(rules: &[&str], requests: &[(&str, &str)]) {
        let table = Table::new(rules.iter().map(|text| rule(text)).collect()).expect("rules");
        for (request, expected) in requests {
            let (method, url) = request.split_once(' ').expect("a method");
            let at = url.find('/').unwrap_or(0);
            let found = describe(table.find(method.as_bytes(), &url.as_bytes()[..at], &url.as_bytes()[at..]));
            assert_eq!(found, *expected, "{request} in {rules:?}");
        }
    }

    fn rule(text: &str) -> Rule {
        let (methods, url) = text.split_once(' ').unwrap_or(("", text));
        let at = url.find('/').expect("a path");
        let list = |text: &str| text.split(',').filter(|one| !one.is_empty()).map(str::to_owned).collect();
        Rule { hosts: list(&url[..at]), methods: list(methods), path: url[at..].to_owned() }
    }

    fn describe(found: Match<'_, '_>) -> String {
        match found {
            Match::NotFound => "404".to_owned(),
            Match::MethodNotAllowed(allow) => format!("405 {allow}"),
            Match::Found(Found { index, params }) => {
                let value = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
                let params = params.iter().map(|(name, text)| format!(" {name}={}", value(text)));
                std::iter::once(index.to_string()).chain(params).collect()
            }
        }
    }

    #[test]
    fn the_first_match_wins() {
        check(
            &["/api/ml/*", "/api/*", "/about", "/*"],
            &[
                ("GET /api/ml", "0"),
                ("GET /api/ml/x", "0"),
                ("GET /api/mlx", "1"),
                ("GET /api", "1"),
                ("GET /apis", "3"),
                ("GET /about", "2"),
                ("GET /about/", "3"),
                ("GET /", "3"),
            ],
        );
        check(&["/*", "/api/*"], &[("GET /api/x", "0")]);
        check(&["/api/*"], &[("GET /", "404"), ("GET /ap", "404")]);
        check(&[], &[("GET /", "404")]);
    }

    #[test]
    fn parameters_take_one_segment_or_the_rest() {
        check(
            &["/users/{id}", "/users/{id}/{what}", "/files/{*path}", "/{lang}/docs/*"],
            &[
                ("GET /users/7", "0 id=7"),
                ("GET /users/a%20b", "0 id=a%20b"),
                ("GET /users/a%2fb", "0 id=a%2Fb"),
                ("GET /users/7/posts", "1 id=7 what=posts"),
                ("GET /users/", "404"),
                ("GET /users", "404"),
                ("GET /files", "2 path="),
                ("GET /files/", "2 path="),
                ("GET /files/a/b", "2 path=a/b"),
                ("GET /de/docs", "3 lang=de"),
                ("GET /de/docs/x/y", "3 lang=de"),
                ("GET /de/doc", "404"),
            ],
        );
    }

    #[test]
    fn hosts_are_names_without_ports() {
        check(
            &["api.example.com/*", "*.example.com/*", "[::1]/*"],
            &[
                ("GET api.example.com/", "0"),
                ("GET API.Example.COM:8443/", "0"),
                ("GET api.example.com./", "0"),
                ("GET a.b.example.com/", "1"),
                ("GET example.com/", "404"),
                ("GET badexample.com/", "404"),
                ("GET [::1]:80/", "2"),
                ("GET /", "404"),
            ],
        );
    }

    #[test]
    fn methods_are_refused_only_if_nothing_else_matches() {
        check(
            &["GET /a", "POST,PUT /a", "GET /b", "/b"],
            &[
                ("GET /a", "0"),
                ("HEAD /a", "0"),
                ("PUT /a", "1"),
                ("DELETE /a", "405 GET, HEAD, POST, PUT"),
                ("get /a", "405 GET, HEAD, POST, PUT"),
                ("POST /b", "3"),
                ("GET /c", "404"),
            ],
        );
    }

    #[test]
    fn no_spelling_dodges_a_rule() {
        let api = ["/api/*", "/assets/*", "/*"];
        check(
            &api,
            &[
                ("GET /assets/../api", "0"),
                ("GET /assets/%2e%2e/api/x", "0"),
                ("GET /assets/..%2fapi/x", "0"),
                ("GET /assets/x%2f..%2F..%2fapi", "0"),
                ("GET /%61pi/x", "0"),
                ("GET //api/x", "0"),
                ("GET /./api", "0"),
                ("GET /api%2Fx", "0"),
                ("GET /api/../assets/x", "1"),
                ("GET /x/../../api", "0"),
                ("GET /a%70i%2fx", "0"),
            ],
        );
        check(&["/\u{fc}/*"], &[("GET /%c3%bc/x", "0"), ("GET /\u{fc}", "0")]);
        check(&["/%c3%bc/*"], &[("GET /%C3%BC", "0")]);
    }

    #[test]
    fn an_asterisk_target_falls_to_the_catch_all() {
        let table = Table::new(vec![rule("/a"), rule("/*")]).unwrap();
        assert_eq!(describe(table.find(b"OPTIONS", b"", b"*")), "1");
    }

    #[test]
    fn unreachable_rules_are_named_with_what_covers_them() {
        let unreachable =
            |rules: &[&str]| Table::new(rules.iter().map(|text| rule(text)).collect()).expect("rules").unreachable();
        assert_eq!(unreachable(&["/*", "/api/*"]), [(1, 0)]);
        assert_eq!(unreachable(&["/api/*", "/*"]), []);
        assert_eq!(unreachable(&["GET /*", "/*"]), []);
        assert_eq!(unreachable(&["GET /*", "HEAD /x"]), [(1, 0)]);
        assert_eq!(unreachable(&["a.test/*", "/*"]), []);
        assert_eq!(unreachable(&["*.b.test/*", "a.b.test/x"]), [(1, 0)]);
        assert_eq!(unreachable(&["/{x}", "/a", "/a"]), [(1, 0), (2, 0)]);
    }

    #[test]
    fn errors_name_rule_and_text() {
        let error = Table::new(vec![rule("/a"), rule("GET /b*")]).unwrap_err();
        assert_eq!((error.rule, error.text.as_str()), (1, "/b*"));
        let error = Table::new(vec![Rule { hosts: vec!["a:80".into()], path: "/".into(), ..Rule::default() }]).unwrap_err();
        assert!(error.to_string().contains("without a port"), "{error}");
    }

    proptest! {
        /// Whatever a client sends, some answer comes, and it is the one of the path's normal form.
        #[test]
        fn a_path_goes_where_its_normal_form_goes(path in "(/|\\.|%2e|a|b|%61|%|[ -~]){0,12}") {
            let table = Table::new(["/a/*", "/a", "/b/{x}", "/{*rest}"].map(rule).into()).unwrap();
            let path = format!("/{path}").into_bytes();
            // A path with an escaped slash has two normal forms; `no_spelling_dodges_a_rule` speaks of those.
            prop_assume!(normal::with_slashes(&path).is_none());
            let normal = normal::normalise(&path).into_owned();
            let found = describe(table.find(b"GET", b"", &path));
            prop_assert_eq!(found, describe(table.find(b"GET", b"", &normal)));
        }

        /// A rule said to be unreachable is never found.
        #[test]
        fn unreachable_rules_are_never_found(
            rules in proptest::collection::vec("(/(a|b|\\{x\\})){1,2}(/\\*)?", 1..5),
            paths in proptest::collection::vec("(/(a|b|c)?){1,3}", 1..20),
        ) {
            let read: Result<Vec<_>, _> = rules.iter().map(|text| Pattern::parse(text)).collect();
            prop_assume!(read.is_ok());
            let table = Table::new(rules.iter().map(|text| rule(text)).collect()).unwrap();
            let unreachable: Vec<usize> = table.unreachable().into_iter().map(|(at, _)| at).collect();
            for path in paths {
                if let Match::Found(found) = table.find(b"GET", b"", path.as_bytes()) {
                    prop_assert!(!unreachable.contains(&found.index), "{path} reaches {}", rules[found.index]);
                }
            }
        }
    }
}
