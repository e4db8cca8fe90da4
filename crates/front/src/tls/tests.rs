use super::*;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, HandshakeKind, ProtocolVersion, RootCertStore, SupportedProtocolVersion};

/// A certificate of its own and the files it lies in.
struct Files {
    folder: tempfile::TempDir,
    settings: config::Tls,
}

impl Files {
    fn new(reload_interval: Duration) -> Files {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let pair = CertificateFiles { certificate: path("cert.pem"), key: path("key.pem") };
        let settings = config::Tls { certificates: vec![pair], reload_interval };
        Files { folder, settings }
    }

    fn pair(&self) -> &CertificateFiles {
        &self.settings.certificates[0]
    }

    /// Writes a fresh pair; gives the certificate.
    fn renew(&self) -> CertificateDer<'static> {
        let rcgen::CertifiedKey { cert, signing_key } = rcgen::generate_simple_self_signed(vec!["localhost".into()]).unwrap();
        // Renamed into place, so that the watcher never sees half a file.
        for (name, text) in [("key.pem", signing_key.serialize_pem()), ("cert.pem", cert.pem())] {
            let fresh = self.folder.path().join("fresh");
            std::fs::write(&fresh, text).unwrap();
            std::fs::rename(&fresh, self.folder.path().join(name)).unwrap();
        }
        cert.der().clone()
    }

    fn write(&self, certificate: &str, key: &str) {
        std::fs::write(&self.pair().certificate, certificate).unwrap();
        std::fs::write(&self.pair().key, key).unwrap();
    }
}

fn client(trusted: &CertificateDer<'static>, versions: &[&'static SupportedProtocolVersion]) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(trusted.clone()).unwrap();
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    config
}

struct Seen {
    version: Option<ProtocolVersion>,
    kind: Option<HandshakeKind>,
    alpn: Option<Vec<u8>>,
}

/// One connection that says "ping" and hears it again.
async fn connect(acceptor: &Acceptor, client: &Arc<ClientConfig>) -> io::Result<Seen> {
    connect_to("localhost", acceptor, client).await
}

async fn connect_to(name: &'static str, acceptor: &Acceptor, client: &Arc<ClientConfig>) -> io::Result<Seen> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let serving = async {
        let mut stream = acceptor.accept(listener.accept().await?.0).await?;
        let mut text = [0; 4];
        stream.read_exact(&mut text).await?;
        stream.write_all(&text).await?;
        stream.shutdown().await
    };
    let asking = async {
        let connector = TlsConnector::from(client.clone());
        let name = ServerName::try_from(name).unwrap();
        let mut stream = connector.connect(name, TcpStream::connect(address).await?).await?;
        stream.write_all(b"ping").await?;
        let mut text = Vec::new();
        stream.read_to_end(&mut text).await?;
        assert_eq!(text, b"ping");
        let connection = stream.get_ref().1;
        io::Result::Ok(Seen {
            version: connection.protocol_version(),
            kind: connection.handshake_kind(),
            alpn: connection.alpn_protocol().map(<[u8]>::to_vec),
        })
    };
    let (served, seen) = tokio::join!(serving, asking);
    // The client's view is the one of interest; it is told of most failures of the server.
    let seen = seen?;
    served?;
    Ok(seen)
}

#[tokio::test]
async fn both_versions_are_spoken_and_sessions_resumed() {
    let files = Files::new(Duration::ZERO);
    let certificate = files.renew();
    let acceptor = Acceptor::new(&files.settings).unwrap();
    for (offered, version) in [(&TLS13, ProtocolVersion::TLSv1_3), (&TLS12, ProtocolVersion::TLSv1_2)] {
        let client = Arc::new(client(&certificate, &[offered]));
        let first = connect(&acceptor, &client).await.unwrap();
        assert_eq!(first.version, Some(version));
        assert_eq!(first.kind, Some(HandshakeKind::Full));
        assert_eq!(first.alpn.as_deref(), Some(&b"h2"[..]));
        let second = connect(&acceptor, &client).await.unwrap();
        assert_eq!(second.kind, Some(HandshakeKind::Resumed), "{version:?}");
    }
}

#[tokio::test]
async fn http_1_is_agreed_on_when_the_client_knows_no_other() {
    let files = Files::new(Duration::ZERO);
    let certificate = files.renew();
    let acceptor = Acceptor::new(&files.settings).unwrap();
    for (offered, agreed) in [(vec![b"http/1.1".to_vec()], Some(&b"http/1.1"[..])), (vec![], None)] {
        let mut client = client(&certificate, &[&TLS13]);
        client.alpn_protocols = offered;
        assert_eq!(connect(&acceptor, &Arc::new(client)).await.unwrap().alpn.as_deref(), agreed);
    }
}

#[tokio::test]
async fn a_renewed_certificate_is_served_after_reload() {
    let files = Files::new(Duration::ZERO);
    let old = Arc::new(client(&files.renew(), &[&TLS13]));
    let acceptor = Acceptor::new(&files.settings).unwrap();
    assert!(!acceptor.reload().unwrap());
    let new = Arc::new(client(&files.renew(), &[&TLS13]));
    assert!(connect(&acceptor, &new).await.is_err());
    assert!(acceptor.reload().unwrap());
    connect(&acceptor, &new).await.unwrap();
    assert!(connect(&acceptor, &old).await.is_err());
}

#[tokio::test]
async fn the_watcher_finds_a_renewed_certificate_by_itself() {
    let files = Files::new(Duration::from_millis(5));
    files.renew();
    let acceptor = Acceptor::new(&files.settings).unwrap();
    let new = Arc::new(client(&files.renew(), &[&TLS13]));
    let found = async { while connect(&acceptor, &new).await.is_err() {} };
    tokio::time::timeout(Duration::from_secs(20), found).await.expect("the new certificate was not found");
}

#[tokio::test]
async fn a_broken_pair_leaves_the_old_one_in_use() {
    let files = Files::new(Duration::ZERO);
    let old = Arc::new(client(&files.renew(), &[&TLS13]));
    let acceptor = Acceptor::new(&files.settings).unwrap();
    std::fs::write(&files.pair().certificate, "half a fi").unwrap();
    assert!(acceptor.reload().is_err());
    connect(&acceptor, &old).await.unwrap();
    std::fs::remove_file(&files.pair().key).unwrap();
    assert!(acceptor.reload().unwrap_err().to_string().contains("key.pem"));
    connect(&acceptor, &old).await.unwrap();
}

fn check_error(change: impl FnOnce(&Files), expected: &[&str]) {
    let files = Files::new(Duration::ZERO);
    files.renew();
    change(&files);
    let error = Acceptor::new(&files.settings).unwrap_err().to_string();
    for part in expected {
        assert!(error.contains(part), "{part:?} is missing in {error:?}");
    }
}

#[test]
fn mistakes_are_named() {
    check_error(|files| std::fs::remove_file(&files.pair().certificate).unwrap(), &["cannot read", "cert.pem"]);
    check_error(|files| files.write("", ""), &["cert.pem", "holds no certificate"]);
    check_error(
        |files| std::fs::copy(&files.pair().key, &files.pair().certificate).map(|_| ()).unwrap(),
        &["cert.pem", "holds no certificate"],
    );
    check_error(
        |files| std::fs::copy(&files.pair().certificate, &files.pair().key).map(|_| ()).unwrap(),
        &["key.pem", "holds no private key"],
    );
    check_error(
        |files| {
            let encrypted = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
            std::fs::write(&files.pair().key, encrypted).unwrap();
        },
        &["key.pem", "encrypted", "openssl pkey"],
    );
    check_error(
        |files| {
            let other = rcgen::KeyPair::generate().unwrap();
            std::fs::write(&files.pair().key, other.serialize_pem()).unwrap();
        },
        &["key.pem", "is not the one of the first certificate", "cert.pem"],
    );
}

#[test]
fn dates_are_warned_of() {
    const DAY: u64 = 86_400;
    let validity = Validity { not_before_s: 100 * DAY, not_after_s: 200 * DAY };
    let warning = |now_s| date_warning(validity, now_s).unwrap_or_default();
    assert!(warning(99 * DAY).contains("valid from Sat, 11 Apr 1970"));
    assert_eq!(warning(150 * DAY), "");
    assert_eq!(warning(186 * DAY), "");
    assert!(warning(190 * DAY).contains("expires in 10 days"));
    assert!(warning(201 * DAY).contains("has expired on Mon, 20 Jul 1970"));
}

#[tokio::test]
async fn the_name_that_the_client_asks_for_chooses_the_certificate() {
    let folder = tempfile::tempdir().unwrap();
    let mut settings = config::Tls { certificates: Vec::new(), reload_interval: Duration::ZERO };
    let mut made = Vec::new();
    for names in [&["one.example"][..], &["two.example", "*.two.example"], &["127.0.0.1"]] {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let path = |end: &str| folder.path().join(format!("{}.{end}", names[0]));
        let files = CertificateFiles { certificate: path("pem"), key: path("key") };
        let rcgen::CertifiedKey { cert, signing_key } = rcgen::generate_simple_self_signed(names.clone()).unwrap();
        std::fs::write(&files.certificate, cert.pem()).unwrap();
        std::fs::write(&files.key, signing_key.serialize_pem()).unwrap();
        settings.certificates.push(files);
        made.push(cert.der().clone());
    }
    let acceptor = Acceptor::new(&settings).unwrap();
    // A client that trusts one certificate alone finds out which it gets. Addresses are not asked for by SNI.
    for (name, trusted, fits) in [
        ("one.example", 0, true),
        ("two.example", 1, true),
        ("deep.two.example", 1, true),
        ("two.example", 0, false),
        ("three.example", 0, false),
        ("127.0.0.1", 2, false),
    ] {
        let client = Arc::new(client(&made[trusted], &[&TLS13]));
        assert_eq!(connect_to(name, &acceptor, &client).await.is_ok(), fits, "{name} with certificate {trusted}");
    }
}
