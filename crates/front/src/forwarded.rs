//! Who the client is, when proxies stand before us, and what the application is told about it.
//!
//! `x-forwarded-for`, `-proto`, `-host` and `forwarded` (RFC 7239) are believed only from trusted proxies;
//! what others send is dropped, and all four are set anew for the application. Pure: opens nothing, and
//! reads no field but those four.
//!
//! A [`Peer`] is made when a connection is accepted. As long as the peer is not a proxy that adds fields,
//! the four values are built once a connection (and once more when its `host` changes), so a request costs
//! a comparison.

use config::TrustedProxies;
use std::borrow::Cow;
use std::fmt::Write;
use std::net::{IpAddr, SocketAddr};

/// Most proxies that are followed; entries further away are dropped. Real chains have fewer than five.
pub const HOPS_MAX: usize = 32;

/// `http` or `https`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// In the clear.
    Http,
    /// Over TLS.
    Https,
}

impl Scheme {
    /// The scheme's name in lower case.
    pub fn name(self) -> &'static str {
        match self {
            Scheme::Http => "http",
            Scheme::Https => "https",
        }
    }

    fn parse(value: &[u8]) -> Option<Scheme> {
        if value.eq_ignore_ascii_case(b"http") || value.eq_ignore_ascii_case(b"ws") {
            Some(Scheme::Http)
        } else if value.eq_ignore_ascii_case(b"https") || value.eq_ignore_ascii_case(b"wss") {
            Some(Scheme::Https)
        } else {
            None
        }
    }
}

/// What a request says about where it came from: the four fields, collected while its header is read.
#[derive(Clone, Debug, Default)]
pub struct Incoming<'a> {
    x_for: Vec<&'a [u8]>,
    x_proto: Vec<&'a [u8]>,
    x_host: Vec<&'a [u8]>,
    forwarded: Vec<&'a [u8]>,
}

impl<'a> Incoming<'a> {
    /// Whether the field is one of the four, which the caller then drops from the request. Its value is kept
    /// only when the peer is trusted.
    #[inline]
    pub fn take(&mut self, name: &[u8], value: &'a [u8], trusted: bool) -> bool {
        let list = match name.len() {
            9 if name.eq_ignore_ascii_case(b"forwarded") => &mut self.forwarded,
            15 if name.eq_ignore_ascii_case(b"x-forwarded-for") => &mut self.x_for,
            16 if name.eq_ignore_ascii_case(b"x-forwarded-host") => &mut self.x_host,
            17 if name.eq_ignore_ascii_case(b"x-forwarded-proto") => &mut self.x_proto,
            _ => return false,
        };
        if trusted {
            list.push(value);
        }
        true
    }

    /// Whether nothing was kept.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.x_for.is_empty() && self.x_proto.is_empty() && self.x_host.is_empty() && self.forwarded.is_empty()
    }
}

/// What to believe about a request, and the fields that tell the application.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin<'a> {
    /// Address of the client as text without brackets; empty when it is not known (a Unix socket).
    pub address: Cow<'a, str>,
    /// Port of the client; 0 when it is not known.
    pub port: u16,
    /// What the client spoke.
    pub scheme: Scheme,
    /// Host and port that the client asked for.
    pub host: Cow<'a, [u8]>,
    /// Names and values to send on; an empty value is not sent.
    pub fields: [(&'static str, Cow<'a, [u8]>); 4],
}

const NAMES: [&str; 4] = ["x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "forwarded"];

/// The other end of one accepted connection.
#[derive(Clone, Debug)]
pub struct Peer {
    address: Option<IpAddr>,
    address_text: String,
    port: u16,
    scheme: Scheme,
    trusted: bool,
    // For requests without believed fields: the host that `forwarded` was built for.
    host: Vec<u8>,
    forwarded: Vec<u8>,
}

impl Peer {
    /// A peer at `address` (`None` over a Unix socket), with or without TLS between it and us.
    pub fn new(trust: &TrustedProxies, address: Option<SocketAddr>, tls: bool) -> Peer {
        // A dual-stack socket reports IPv4 peers as ::ffff:192.0.2.1; rules and readers mean 192.0.2.1.
        let ip = address.map(|address| address.ip().to_canonical());
        let scheme = if tls { Scheme::Https } else { Scheme::Http };
        let mut peer = Peer {
            address: ip,
            address_text: ip.map(|ip| ip.to_string()).unwrap_or_default(),
            port: address.map_or(0, |address| address.port()),
            scheme,
            trusted: ip.map_or(trust.unix, |ip| trusts(trust, ip)),
            host: Vec::new(),
            forwarded: Vec::new(),
        };
        peer.rebuild_for(b"");
        peer
    }

    /// Whether this peer's fields are believed.
    #[inline]
    pub fn trusted(&self) -> bool {
        self.trusted
    }

    /// The peer's own address as text; empty over a Unix socket.
    pub fn address(&self) -> &str {
        &self.address_text
    }

    /// Decides one request. `host` is its `host` field or `:authority`.
    #[inline]
    pub fn origin<'a>(&'a mut self, trust: &TrustedProxies, host: &'a [u8], incoming: &Incoming<'_>) -> Origin<'a> {
        if !incoming.is_empty() && self.trusted {
            return self.believed(trust, host, incoming);
        }
        if self.host != host {
            self.rebuild_for(host);
        }
        Origin {
            address: Cow::Borrowed(&self.address_text),
            port: self.port,
            scheme: self.scheme,
            host: Cow::Borrowed(host),
            fields: [
                (NAMES[0], Cow::Borrowed(self.address_text.as_bytes())),
                (NAMES[1], Cow::Borrowed(self.scheme.name().as_bytes())),
                (NAMES[2], Cow::Borrowed(host)),
                (NAMES[3], Cow::Borrowed(&self.forwarded)),
            ],
        }
    }

    fn rebuild_for(&mut self, host: &[u8]) {
        self.host.clear();
        self.host.extend_from_slice(host);
        self.forwarded.clear();
        let hop = Hop { node: Node::of(self.address, 0), proto: Some(self.scheme), host: Some(host.into()) };
        hop.put_forwarded(&mut self.forwarded);
    }

    /// The slow path: a trusted proxy said something.
    fn believed<'a>(&'a self, trust: &TrustedProxies, host: &'a [u8], incoming: &Incoming<'_>) -> Origin<'a> {
        // x-forwarded-* wins when both are there: most proxies set these and let a client's own `forwarded`
        // pass, so the other order would let clients lie.
        let x = !(incoming.x_for.is_empty() && incoming.x_proto.is_empty() && incoming.x_host.is_empty());
        let mut hops = if x { x_hops(incoming) } else { forwarded_hops(&incoming.forwarded) };

        // From our side outwards: each trusted address vouches for what lies beyond it.
        let (mut client, mut vouched) = (self.address, self.trusted);
        let (mut port, mut scheme, mut told_host) = (self.port, None, None);
        let mut first = hops.len();
        while vouched && first > 0 && hops.len() - first < HOPS_MAX {
            let hop = &hops[first - 1];
            if x && hop.node == Node::Unreadable {
                break;
            }
            first -= 1;
            scheme = hop.proto.or(scheme);
            if hop.host.is_some() {
                told_host = Some(first);
            }
            match hop.node {
                Node::Address(address, hop_port) => {
                    (client, port) = (Some(address), hop_port);
                    vouched = trusts(trust, address);
                }
                // x-forwarded-proto or -host without -for.
                Node::Absent => {}
                Node::Unknown | Node::Unreadable => {
                    (client, port) = (None, 0);
                    vouched = false;
                }
            }
        }
        let scheme = scheme.unwrap_or(self.scheme);
        let host = match told_host {
            Some(index) => hops[index].host.clone().map_or(Cow::Borrowed(host), Cow::Owned),
            None => Cow::Borrowed(host),
        };

        hops.drain(..first);
        hops.retain(|hop| hop.node != Node::Absent);
        hops.push(Hop {
            node: Node::of(self.address, 0),
            proto: Some(self.scheme),
            host: hops.is_empty().then(|| host.to_vec()),
        });
        let (mut list, mut forwarded) = (Vec::new(), Vec::new());
        for hop in &hops {
            hop.put_x_for(&mut list);
            if !forwarded.is_empty() {
                forwarded.extend_from_slice(b", ");
            }
            hop.put_forwarded(&mut forwarded);
        }
        Origin {
            address: client.map_or(Cow::Borrowed(""), |ip| Cow::Owned(ip.to_string())),
            port,
            scheme,
            fields: [
                (NAMES[0], Cow::Owned(list)),
                (NAMES[1], Cow::Borrowed(scheme.name().as_bytes())),
                (NAMES[2], host.clone()),
                (NAMES[3], Cow::Owned(forwarded)),
            ],
            host,
        }
    }
}

/// One step of the way: what a proxy says about who spoke to it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Hop {
    node: Node,
    proto: Option<Scheme>,
    host: Option<Vec<u8>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Node {
    /// An address; its port or 0.
    Address(IpAddr, u16),
    /// `unknown`, or an obfuscated name (RFC 7239 §6.2, §6.3).
    Unknown,
    /// Not said.
    Absent,
    /// Neither of these.
    Unreadable,
}

impl Node {
    fn of(address: Option<IpAddr>, port: u16) -> Node {
        address.map_or(Node::Unknown, |address| Node::Address(address, port))
    }

    /// `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]`, `[2001:db8::1]:80`, `unknown`, `_name`.
    fn parse(value: &[u8]) -> Node {
        if value.eq_ignore_ascii_case(b"unknown") || value.starts_with(b"_") {
            return Node::Unknown;
        }
        let Ok(text) = std::str::from_utf8(value) else { return Node::Unreadable };
        if let Ok(address) = text.parse::<IpAddr>() {
            return Node::Address(address.to_canonical(), 0);
        }
        if let Some(address) = text.strip_prefix('[').and_then(|t| t.strip_suffix(']')) {
            return match address.parse::<std::net::Ipv6Addr>() {
                Ok(address) => Node::Address(IpAddr::V6(address).to_canonical(), 0),
                Err(_) => Node::Unreadable,
            };
        }
        match text.parse::<SocketAddr>() {
            Ok(address) => Node::Address(address.ip().to_canonical(), address.port()),
            Err(_) => Node::Unreadable,
        }
    }
}

impl Hop {
    fn put_x_for(&self, out: &mut Vec<u8>) {
        // The entry has no form for "unknown" that applications can be relied on to read.
        let Node::Address(address, _) = self.node else { return };
        if !out.is_empty() {
            out.extend_from_slice(b", ");
        }
        out.extend_from_slice(address.to_string().as_bytes());
    }

    fn put_forwarded(&self, out: &mut Vec<u8>) {
        let mut text = String::with_capacity(64);
        // Writing to a String cannot fail. IPv6 addresses and ports need quotes (RFC 7239 §4, §6).
        let _ = match self.node {
            Node::Address(IpAddr::V4(address), 0) => write!(text, "for={address}"),
            Node::Address(IpAddr::V4(address), port) => write!(text, "for=\"{address}:{port}\""),
            Node::Address(IpAddr::V6(address), 0) => write!(text, "for=\"[{address}]\""),
            Node::Address(IpAddr::V6(address), port) => write!(text, "for=\"[{address}]:{port}\""),
            Node::Unknown | Node::Absent | Node::Unreadable => write!(text, "for=unknown"),
        };
        out.extend_from_slice(text.as_bytes());
        if let Some(host) = self.host.as_deref().filter(|host| !host.is_empty() && valid_host(host)) {
            out.extend_from_slice(b";host=\"");
            out.extend_from_slice(host);
            out.push(b'"');
        }
        if let Some(proto) = self.proto {
            out.extend_from_slice(b";proto=");
            out.extend_from_slice(proto.name().as_bytes());
        }
    }
}

/// The three x-forwarded fields as hops. `-proto` and `-host` have one value for the whole way, set by the
/// nearest proxy, unless they are lists as long as `-for`.
fn x_hops(incoming: &Incoming<'_>) -> Vec<Hop> {
    let nodes: Vec<Node> = list(&incoming.x_for).map(Node::parse).collect();
    let protos: Vec<Option<Scheme>> = list(&incoming.x_proto).map(Scheme::parse).collect();
    let hosts: Vec<Option<Vec<u8>>> = list(&incoming.x_host).map(|host| valid_host(host).then(|| host.to_vec())).collect();
    let mut hops: Vec<Hop> = nodes.iter().map(|&node| Hop { node, proto: None, host: None }).collect();
    if hops.is_empty() {
        hops.push(Hop { node: Node::Absent, proto: None, host: None });
    }
    let last = hops.len() - 1;
    if protos.len() == hops.len() {
        hops.iter_mut().zip(protos).for_each(|(hop, proto)| hop.proto = proto);
    } else {
        hops[last].proto = protos.last().copied().flatten();
    }
    if hosts.len() == hops.len() {
        hops.iter_mut().zip(hosts).for_each(|(hop, host)| hop.host = host);
    } else {
        hops[last].host = hosts.last().cloned().flatten();
    }
    hops
}

/// The elements of `forwarded` fields as hops.
fn forwarded_hops(fields: &[&[u8]]) -> Vec<Hop> {
    let mut hops = Vec::new();
    for field in fields {
        for element in split_quoted(field, b',') {
            if element.trim_ascii().is_empty() {
                continue;
            }
            let mut hop = Hop { node: Node::Unreadable, proto: None, host: None };
            for pair in split_quoted(element, b';') {
                let Some(equals) = pair.iter().position(|&b| b == b'=') else { continue };
                let (name, value) = (pair[..equals].trim_ascii(), unquoted(pair[equals + 1..].trim_ascii()));
                if name.eq_ignore_ascii_case(b"for") {
                    hop.node = Node::parse(&value);
                } else if name.eq_ignore_ascii_case(b"proto") {
                    hop.proto = Scheme::parse(&value);
                } else if name.eq_ignore_ascii_case(b"host") && valid_host(&value) {
                    hop.host = Some(value.into_owned());
                }
            }
            hops.push(hop);
        }
    }
    hops
}

fn list<'a>(fields: &'a [&'a [u8]]) -> impl Iterator<Item = &'a [u8]> {
    fields.iter().flat_map(|field| field.split(|&b| b == b',')).map(|entry| entry.trim_ascii()).filter(|entry| !entry.is_empty())
}

/// Splits at a separator outside quoted strings (RFC 9110 §5.6.4).
fn split_quoted(text: &[u8], separator: u8) -> impl Iterator<Item = &[u8]> {
    let (mut quoted, mut escaped) = (false, false);
    text.split(move |&b| {
        if escaped {
            escaped = false;
        } else if quoted && b == b'\\' {
            escaped = true;
        } else if b == b'"' {
            quoted = !quoted;
        } else {
            return !quoted && b == separator;
        }
        false
    })
}

fn unquoted(value: &[u8]) -> Cow<'_, [u8]> {
    let Some(inner) = value.strip_prefix(b"\"").and_then(|v| v.strip_suffix(b"\"")) else {
        return Cow::Borrowed(value);
    };
    if !inner.contains(&b'\\') {
        return Cow::Borrowed(inner);
    }
    let mut out = Vec::with_capacity(inner.len());
    let mut bytes = inner.iter();
    while let Some(&b) = bytes.next() {
        out.push(if b == b'\\' { bytes.next().copied().unwrap_or(b) } else { b });
    }
    Cow::Owned(out)
}

fn trusts(trust: &TrustedProxies, address: IpAddr) -> bool {
    trust.networks.iter().any(|network| network.contains(&address))
}

/// Whether the text can be host and port, and stands in a quoted string as it is.
fn valid_host(host: &[u8]) -> bool {
    (1..=259).contains(&host.len()) && host.iter().all(|&b| b.is_ascii_alphanumeric() || b"-._~%!$&'()*+;=:[]".contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trust() -> TrustedProxies {
        TrustedProxies { networks: vec!["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()], unix: true }
    }

    /// Sends one request through a fresh peer, and shows the decision as
    /// `address:port scheme host | for | proto | host | forwarded`.
    fn decide(peer: Option<&str>, tls: bool, fields: &[(&str, &str)]) -> String {
        let trust = trust();
        let mut peer = Peer::new(&trust, peer.map(|p| p.parse().unwrap()), tls);
        let mut incoming = Incoming::default();
        for (name, value) in fields {
            assert!(incoming.take(name.as_bytes(), value.as_bytes(), peer.trusted()), "{name}");
        }
        let origin = peer.origin(&trust, b"site.example", &incoming);
        let text = |value: &[u8]| String::from_utf8(value.to_vec()).unwrap();
        let fields: Vec<String> = origin.fields.iter().map(|(_, value)| text(value)).collect();
        format!("{}:{} {} {} | {}", origin.address, origin.port, origin.scheme.name(), text(&origin.host), fields.join(" | "))
    }

    #[test]
    fn an_untrusted_peer_is_not_believed() {
        let plain = "192.0.2.9:5 http site.example | 192.0.2.9 | http | site.example | \
                     for=192.0.2.9;host=\"site.example\";proto=http";
        assert_eq!(decide(Some("192.0.2.9:5"), false, &[]), plain);
        let lies = [
            ("X-Forwarded-For", "1.1.1.1"),
            ("x-forwarded-proto", "https"),
            ("X-Forwarded-Host", "evil.example"),
            ("Forwarded", "for=1.1.1.1;proto=https"),
        ];
        assert_eq!(decide(Some("192.0.2.9:5"), false, &lies), plain);
    }

    #[test]
    fn the_four_fields_and_no_others_are_taken() {
        let mut incoming = Incoming::default();
        for name in ["x-forwarded-port", "forwarde", "x-real-ip", "x-forwarded-hosts", "host"] {
            assert!(!incoming.take(name.as_bytes(), b"1", true), "{name}");
        }
        assert!(incoming.is_empty());
    }

    #[test]
    fn a_trusted_proxy_names_client_scheme_and_host() {
        assert_eq!(
            decide(
                Some("10.0.0.1:5"),
                false,
                &[("x-forwarded-for", "203.0.113.7"), ("x-forwarded-proto", "https"), ("x-forwarded-host", "shop.example:8443"),]
            ),
            "203.0.113.7:0 https shop.example:8443 | 203.0.113.7, 10.0.0.1 | https | shop.example:8443 | \
             for=203.0.113.7;host=\"shop.example:8443\";proto=https, for=10.0.0.1;proto=http"
        );
    }

    #[test]
    fn what_lies_beyond_the_first_untrusted_address_is_dropped() {
        assert_eq!(
            decide(Some("10.0.0.1:5"), true, &[("x-forwarded-for", "6.6.6.6, 203.0.113.7, 10.2.2.2")]),
            "203.0.113.7:0 https site.example | 203.0.113.7, 10.2.2.2, 10.0.0.1 | https | site.example | \
             for=203.0.113.7, for=10.2.2.2, for=10.0.0.1;proto=https"
        );
        // The same over several fields, with ports and IPv6.
        assert_eq!(
            decide(
                Some("[fd00::1]:5"),
                true,
                &[("x-forwarded-for", "6.6.6.6"), ("x-forwarded-for", "[2001:db8::7]:99 ,, 10.2.2.2:1")]
            ),
            "2001:db8::7:99 https site.example | 2001:db8::7, 10.2.2.2, fd00::1 | https | site.example | \
             for=\"[2001:db8::7]:99\", for=\"10.2.2.2:1\", for=\"[fd00::1]\";proto=https"
        );
    }

    #[test]
    fn an_unreadable_entry_ends_the_way() {
        assert!(
            decide(Some("10.0.0.1:5"), false, &[("x-forwarded-for", "203.0.113.7, garbage\", 10.2.2.2")])
                .starts_with("10.2.2.2:0 http site.example | 10.2.2.2, 10.0.0.1 |")
        );
        assert!(
            decide(Some("10.0.0.1:5"), false, &[("x-forwarded-host", "a\"b"), ("x-forwarded-proto", "gopher")])
                .starts_with("10.0.0.1:5 http site.example | 10.0.0.1 | http | site.example | for=10.0.0.1;")
        );
    }

    #[test]
    fn lists_as_long_as_the_way_speak_of_each_step() {
        assert!(
            decide(
                Some("10.0.0.1:5"),
                false,
                &[("x-forwarded-for", "203.0.113.7, 10.2.2.2"), ("x-forwarded-proto", "https, http")]
            )
            .starts_with("203.0.113.7:0 https ")
        );
    }

    #[test]
    fn the_standard_field_is_read_too() {
        assert_eq!(
            decide(
                Some("10.0.0.1:5"),
                false,
                &[("forwarded", "For=\"[2001:db8::17]:4711\";Proto=https;host=\"a.example\";by=x, for=10.3.3.3")]
            ),
            "2001:db8::17:4711 https a.example | 2001:db8::17, 10.3.3.3, 10.0.0.1 | https | a.example | \
             for=\"[2001:db8::17]:4711\";host=\"a.example\";proto=https, for=10.3.3.3, for=10.0.0.1;proto=http"
        );
        assert!(
            decide(Some("10.0.0.1:5"), false, &[("forwarded", "for=_hidden, for=10.3.3.3")])
                .starts_with(":0 http site.example | 10.3.3.3, 10.0.0.1 | http |")
        );
        // A separator and an escape inside a quoted string.
        assert!(
            decide(Some("10.0.0.1:5"), false, &[("forwarded", "secret=\"a,b;\\\"c\";for=192.0.2.60")])
                .starts_with("192.0.2.60:0 ")
        );
        // A client cannot lie through a proxy that only knows x-forwarded-for.
        assert!(
            decide(Some("10.0.0.1:5"), false, &[("forwarded", "for=6.6.6.6"), ("x-forwarded-for", "203.0.113.7")])
                .starts_with("203.0.113.7:0 ")
        );
    }

    #[test]
    fn unix_peers_and_mapped_addresses() {
        assert_eq!(
            decide(None, false, &[]),
            ":0 http site.example |  | http | site.example | for=unknown;host=\"site.example\";proto=http"
        );
        assert!(
            decide(None, false, &[("x-forwarded-for", "203.0.113.7")])
                .starts_with("203.0.113.7:0 http site.example | 203.0.113.7 | http |")
        );
        assert!(
            decide(Some("[::ffff:10.0.0.1]:5"), false, &[("x-forwarded-for", "::ffff:203.0.113.7")])
                .starts_with("203.0.113.7:0 ")
        );
    }

    #[test]
    fn a_long_way_is_cut() {
        let entries = vec!["10.1.1.1"; 100].join(",");
        let shown = decide(Some("10.0.0.1:5"), false, &[("x-forwarded-for", &entries)]);
        assert_eq!(shown.matches("for=10.1.1.1").count(), HOPS_MAX);
    }

    #[test]
    fn the_kept_field_follows_the_host() {
        let trust = trust();
        let mut peer = Peer::new(&trust, Some("192.0.2.9:5".parse().unwrap()), false);
        for host in [&b"a.example"[..], b"b.example", b"b.example", b"bad\"host", b""] {
            let origin = peer.origin(&trust, host, &Incoming::default());
            let forwarded = String::from_utf8(origin.fields[3].1.to_vec()).unwrap();
            let named = format!("host=\"{}\"", String::from_utf8_lossy(host));
            assert_eq!(forwarded.contains(&named), valid_host(host), "{forwarded}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_value_breaks_out(value in proptest::collection::vec(0x20_u8..=0xff, 0..200), which in 0_usize..4) {
            let trust = trust();
            let mut peer = Peer::new(&trust, Some("10.0.0.1:5".parse().unwrap()), false);
            let mut incoming = Incoming::default();
            incoming.take(NAMES[which].as_bytes(), &value, true);
            let origin = peer.origin(&trust, b"h.example", &incoming);
            let again = forwarded_hops(&[&origin.fields[3].1]);
            proptest::prop_assert!(!again.is_empty() && again.len() <= HOPS_MAX + 1);
            proptest::prop_assert!(again.iter().all(|hop| hop.node != Node::Unreadable));
        }
    }
}
