//! Replaced by engineer `edge`: the shape that serve.rs codes against.
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct Acceptor;
#[allow(missing_docs)]
pub type Error = std::io::Error;
impl Acceptor {
    #[allow(missing_docs)]
    pub fn new(_: &config::Tls) -> Result<Acceptor, Error> {
        Err(std::io::Error::other("not there yet"))
    }
    #[allow(missing_docs)]
    pub async fn accept(&self, _: TcpStream) -> std::io::Result<TlsStream<TcpStream>> {
        Err(std::io::Error::other("not there yet"))
    }
}
