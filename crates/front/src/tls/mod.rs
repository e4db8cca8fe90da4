//! TLS 1.2 and 1.3 by rustls, with certificates that are exchanged while the server runs.
//!
//! `tls` chooses the certificate by the name that the client asks for (SNI, RFC 6066 §3), offers `h2` and `http/1.1` by ALPN (RFC 7301), and resumes
//! sessions by tickets. It knows nothing of what is spoken inside. The provider is ring: it builds with
//! nothing but a C compiler.

mod validity;

use std::fmt;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError, RwLock, Weak};
use std::time::SystemTime;

use config::CertificateFiles;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::client::verify_server_name;
use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::pki_types::pem::{Error as PemError, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::server::{ClientHello, ParsedCertificate, ResolvesServerCert};
use tokio_rustls::rustls::sign::CertifiedKey;
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{Error as RustlsError, InconsistentKeys, ServerConfig};
use tokio_rustls::server::TlsStream;

use validity::Validity;

/// Days before its end from which a certificate is complained about: half of what ACME clients leave
/// themselves, so that a renewal that works never shows up here.
const EXPIRY_WARNING_DAYS: u64 = 14;

/// Accepts TLS connections. Clones share certificate and tickets.
#[derive(Clone)]
pub struct Acceptor {
    acceptor: TlsAcceptor,
    certificates: Arc<Certificates>,
}

impl Acceptor {
    /// Loads the certificates and their keys, and begins to look for changes of the files every
    /// [`config::Tls::reload_interval`] (never when that is zero).
    ///
    /// # Errors
    /// When a file can't be read or holds nothing usable, or a certificate and its key don't belong together.
    pub fn new(settings: &config::Tls) -> Result<Acceptor, Error> {
        let provider = Arc::new(ring::default_provider());
        let (watched, ended) = channel();
        let each = settings.certificates.iter().map(|files| Certificate::load(files, &provider));
        let certificates = Arc::new(Certificates { each: each.collect::<Result<_, _>>()?, _watched: watched });
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13, &TLS12])
            .map_err(Error::Library)?
            .with_no_client_auth()
            .with_cert_resolver(certificates.clone());
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        config.ticketer = ring::Ticketer::new().map_err(Error::Library)?;
        if !settings.reload_interval.is_zero() {
            let (watcher, interval) = (Arc::downgrade(&certificates), settings.reload_interval);
            let watch = move || {
                while ended.recv_timeout(interval) == Err(RecvTimeoutError::Timeout) {
                    let Some(certificates) = Weak::upgrade(&watcher) else { return };
                    certificates.each.iter().for_each(Certificate::reload_and_log);
                }
            };
            std::thread::Builder::new().name("tls-watch".into()).spawn(watch).map_err(Error::Thread)?;
        }
        Ok(Acceptor { acceptor: TlsAcceptor::from(Arc::new(config)), certificates })
    }

    /// Does the handshake. The caller bounds its time.
    ///
    /// # Errors
    /// Those of the connection, and of a client that wants what we don't speak.
    pub async fn accept<S: AsyncRead + AsyncWrite + Unpin>(&self, stream: S) -> io::Result<TlsStream<S>> {
        self.acceptor.accept(stream).await
    }

    /// Loads files again that have changed; `true` when a certificate is a new one. Connections that are open keep
    /// the old one.
    ///
    /// # Errors
    /// As [`Acceptor::new`]; the old certificate stays.
    pub fn reload(&self) -> Result<bool, Error> {
        let mut renewed = false;
        for certificate in &self.certificates.each {
            renewed |= certificate.reload()?;
        }
        Ok(renewed)
    }
}

impl fmt::Debug for Acceptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Acceptor").field("certificates", &self.certificates).finish_non_exhaustive()
    }
}

/// Certificate and key can't be used.
#[derive(Debug)]
pub enum Error {
    /// A file can't be read.
    Read(PathBuf, io::Error),
    /// A file is not the PEM it should be; says what to do.
    Pem(PathBuf, String),
    /// The certificate is not the key's.
    Mismatch {
        /// File of the certificate.
        certificate: PathBuf,
        /// File of the key.
        key: PathBuf,
    },
    /// The library refuses the key or certificate.
    Refused(PathBuf, RustlsError),
    /// The library can't be set up.
    Library(RustlsError),
    /// The thread that watches the files can't be started.
    Thread(io::Error),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Read(path, error) => write!(f, "cannot read {}: {error}", path.display()),
            Error::Pem(path, what) => write!(f, "{}: {what}", path.display()),
            Error::Mismatch { certificate, key } => write!(
                f,
                "the key in {} is not the one of the first certificate in {}; give the key that the certificate \
                 was issued for, and put the server's own certificate before those of its issuers",
                key.display(),
                certificate.display()
            ),
            Error::Refused(path, error) => write!(f, "{}: cannot be used: {error}", path.display()),
            Error::Library(error) => write!(f, "cannot set up TLS: {error}"),
            Error::Thread(error) => write!(f, "cannot start the thread that watches the certificate: {error}"),
        }
    }
}

impl std::error::Error for Error {}

/// In the order of the settings.
#[derive(Debug)]
struct Certificates {
    each: Vec<Certificate>,
    /// Dropped with us, which ends the watching thread.
    _watched: Sender<()>,
}

impl ResolvesServerCert for Certificates {
    /// The first that is for the client's name and has a key whose signatures the client knows; one certificate for
    /// RSA and one for ECDSA may stand side by side.
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let usable = |key: &CertifiedKey| key.key.choose_scheme(hello.signature_schemes()).is_some();
        let keys = || self.each.iter().map(Certificate::current).filter(|key| usable(key));
        let named = hello.server_name().and_then(|name| ServerName::try_from(name).ok());
        named.and_then(|name| keys().find(|key| is_for(key, &name))).or_else(|| keys().next())
    }
}

/// Wildcards included, as clients compare names (RFC 9525 §6).
fn is_for(key: &CertifiedKey, name: &ServerName<'_>) -> bool {
    let parsed = key.cert.first().and_then(|der| ParsedCertificate::try_from(der).ok());
    parsed.is_some_and(|certificate| verify_server_name(&certificate, name).is_ok())
}

/// A certificate of the moment. Handshakes take a reference under a lock held for nothing else.
#[derive(Debug)]
struct Certificate {
    files: CertificateFiles,
    provider: Arc<CryptoProvider>,
    current: RwLock<Arc<CertifiedKey>>,
    /// The files' state at the latest attempt to load them, so that a broken pair is complained about once.
    stamps: Mutex<Stamps>,
}

impl Certificate {
    fn load(files: &CertificateFiles, provider: &Arc<CryptoProvider>) -> Result<Certificate, Error> {
        let stamps = Mutex::new(Stamps::of(files));
        let current = RwLock::new(load(files, provider)?);
        Ok(Certificate { files: files.clone(), provider: provider.clone(), current, stamps })
    }

    fn current(&self) -> Arc<CertifiedKey> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn reload(&self) -> Result<bool, Error> {
        // Held throughout: two reloads at once would undo each other. A panic in here leaves nothing half done.
        let mut stamps = self.stamps.lock().unwrap_or_else(PoisonError::into_inner);
        // Taken before reading: a change while we read shows as one the next time.
        let now = Stamps::of(&self.files);
        if *stamps == now {
            return Ok(false);
        }
        *stamps = now;
        let loaded = load(&self.files, &self.provider)?;
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        let renewed = current.cert != loaded.cert;
        *current = loaded;
        Ok(renewed)
    }

    fn reload_and_log(&self) {
        let path = self.files.certificate.display();
        match self.reload() {
            Ok(true) => tracing::info!(certificate = %path, "serving the renewed certificate"),
            Ok(false) => {}
            // Between the writing of the two files this is how a renewal looks; their next change is tried again.
            Err(error) => tracing::warn!(%error, "the certificate has changed but the old one stays in use"),
        }
    }
}

/// What tells one state of the two files from another; links on the way are followed, as mounted secrets are
/// exchanged by switching one.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Stamps([Option<Stamp>; 2]);

/// Device, inode, size, and modification in seconds and nanoseconds.
type Stamp = (u64, u64, u64, i64, i64);

impl Stamps {
    fn of(files: &CertificateFiles) -> Stamps {
        Stamps([&files.certificate, &files.key].map(|path| {
            let m = std::fs::metadata(path).ok()?;
            Some((m.dev(), m.ino(), m.size(), m.mtime(), m.mtime_nsec()))
        }))
    }
}

fn load(files: &CertificateFiles, provider: &CryptoProvider) -> Result<Arc<CertifiedKey>, Error> {
    let read = |path: &Path| std::fs::read(path).map_err(|error| Error::Read(path.to_owned(), error));
    let (certificate_path, key_path) = (&files.certificate, &files.key);
    let (certificate_pem, key_pem) = (read(certificate_path)?, read(key_path)?);

    let chain = CertificateDer::pem_slice_iter(&certificate_pem)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| Error::Pem(certificate_path.clone(), format!("not a PEM file: {error}")))?;
    if chain.is_empty() {
        let what = "holds no certificate; it must hold a PEM block that begins with -----BEGIN CERTIFICATE-----";
        return Err(Error::Pem(certificate_path.clone(), what.into()));
    }
    let key =
        PrivateKeyDer::from_pem_slice(&key_pem).map_err(|error| Error::Pem(key_path.clone(), key_complaint(&error, &key_pem)))?;
    let signing = provider.key_provider.load_private_key(key).map_err(|error| Error::Refused(key_path.clone(), error))?;
    let certified = CertifiedKey::new(chain, signing);
    match certified.keys_match() {
        // A key that can't say which public key it has is taken on trust.
        Ok(()) | Err(RustlsError::InconsistentKeys(InconsistentKeys::Unknown)) => {}
        Err(RustlsError::InconsistentKeys(_)) => {
            return Err(Error::Mismatch { certificate: certificate_path.clone(), key: key_path.clone() });
        }
        Err(error) => return Err(Error::Refused(certificate_path.clone(), error)),
    }
    warn_of_dates(certificate_path, certified.cert.first(), SystemTime::now());
    Ok(Arc::new(certified))
}

fn key_complaint(error: &PemError, pem: &[u8]) -> String {
    let text = String::from_utf8_lossy(pem);
    if text.contains("ENCRYPTED") {
        return "the key is encrypted; decrypt it (openssl pkey -in KEY -out PLAIN_KEY) and protect the file \
                by its permissions"
            .into();
    }
    match error {
        PemError::NoItemsFound => "holds no private key; it must hold a PEM block such as -----BEGIN PRIVATE KEY-----".into(),
        error => format!("not a PEM file: {error}"),
    }
}

fn warn_of_dates(path: &Path, certificate: Option<&CertificateDer<'_>>, now: SystemTime) {
    let now_s = crate::date::seconds_since_epoch(now);
    if let Some(warning) = certificate.and_then(|der| Validity::read(der)).and_then(|v| date_warning(v, now_s)) {
        tracing::warn!(certificate = %path.display(), "{warning}");
    }
}

fn date_warning(validity: Validity, now_s: u64) -> Option<String> {
    let date = |seconds: u64| String::from_utf8_lossy(&crate::date::http_date(seconds)).into_owned();
    if now_s > validity.not_after_s {
        let since = date(validity.not_after_s);
        return Some(format!("the certificate has expired on {since}; clients will refuse it: renew it"));
    }
    if now_s < validity.not_before_s {
        let from = date(validity.not_before_s);
        return Some(format!("the certificate is valid from {from} only; check this machine's clock"));
    }
    let days = (validity.not_after_s - now_s) / 86_400;
    (days < EXPIRY_WARNING_DAYS).then(|| format!("the certificate expires in {days} days: renew it"))
}

#[cfg(test)]
mod tests;
