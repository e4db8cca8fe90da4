//! Host patterns: `api.example.com`, or `*.example.com` for every name below.

/// A host pattern that has been read; lower case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Host {
    Exact(Box<[u8]>),
    /// With its leading dot.
    Below(Box<[u8]>),
}

impl Host {
    pub(crate) fn parse(text: &str) -> Result<Host, &'static str> {
        let lower = text.to_ascii_lowercase();
        let (name, below) = match lower.strip_prefix("*.") {
            Some(name) => (name, true),
            None => (&*lower, false),
        };
        if name.is_empty() {
            return Err("a host is a name such as \"example.com\" or \"*.example.com\"");
        }
        if name.contains('*') {
            return Err("\"*\" is the first label of a host: write \"*.example.com\"");
        }
        let bracketed = name.starts_with('[') && name.ends_with(']');
        if !bracketed && name.contains(':') {
            return Err("a host is written without a port; requests to every port of a listener match");
        }
        if name.contains('/') || !name.is_ascii() || name.bytes().any(|byte| byte <= b' ') {
            return Err("a host is a name such as \"example.com\"; write international names in their xn-- form");
        }
        let name = name.strip_suffix('.').unwrap_or(name);
        Ok(if below { Host::Below(format!(".{name}").into_bytes().into()) } else { Host::Exact(name.as_bytes().into()) })
    }

    /// Whether a host without its port matches.
    pub(crate) fn matches(&self, host: &[u8]) -> bool {
        match self {
            Host::Exact(name) => name.eq_ignore_ascii_case(host),
            Host::Below(suffix) => host.len() > suffix.len() && host[host.len() - suffix.len()..].eq_ignore_ascii_case(suffix),
        }
    }

    pub(crate) fn covers(&self, other: &Host) -> bool {
        match (self, other) {
            (Host::Exact(mine), Host::Exact(theirs)) => mine == theirs,
            (Host::Exact(_), Host::Below(_)) => false,
            (Host::Below(mine), Host::Below(theirs)) => theirs.ends_with(mine),
            (Host::Below(mine), Host::Exact(theirs)) => theirs.len() > mine.len() && theirs.ends_with(mine),
        }
    }
}

/// A `host` field's value without port and final dot.
pub(crate) fn without_port(host: &[u8]) -> &[u8] {
    let name = match host.first() {
        Some(b'[') => host.iter().position(|&byte| byte == b']').map_or(host, |end| &host[..=end]),
        _ => host.iter().position(|&byte| byte == b':').map_or(host, |end| &host[..end]),
    };
    name.strip_suffix(b".").unwrap_or(name)
}
