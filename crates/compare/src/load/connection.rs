//! One HTTP/1.1 client connection: a request's bytes out, a response in, kept alive.
//!
//! It reads what a server may send (RFC 9112 §6) and nothing more; a response that it cannot read ends the connection with a
//! text that says why.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Longest response head.
const HEAD_BYTES_MAX: usize = 64 << 10;
/// Fields of a response.
const FIELDS_MAX: usize = 128;
/// Longest body that is kept, as sent and as decoded.
pub const BODY_BYTES_MAX: usize = 64 << 20;

/// A request as it is sent.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// For people: `GET /api/quote/7`.
    pub name: String,
    /// Head and body.
    pub bytes: Vec<u8>,
    /// Whether its response has no body (HEAD).
    pub without_body: bool,
    /// Its right answer is an error of the server (500 and above), and then a good one.
    pub error_expected: bool,
}

/// A response.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Response {
    /// Its status.
    pub status: u16,
    /// Names in lower case.
    pub fields: Vec<(String, Vec<u8>)>,
    /// Empty unless it was to be kept.
    pub body: Vec<u8>,
    /// Whether another request may follow.
    pub keep_alive: bool,
}

/// How a response's body ends.
enum Framing {
    Length(u64),
    Chunked,
    Closing,
}

/// An open connection.
pub struct Connection {
    stream: TcpStream,
    /// What was read beyond the last response.
    buffer: Vec<u8>,
}

impl Response {
    /// Undoes the content coding of its body.
    pub fn decode(&mut self) {
        if let Some(plain) = super::coding::decode(&self.fields, &self.body) {
            self.body = plain;
        }
    }
}

impl Connection {
    /// Connects.
    pub async fn open(address: SocketAddr) -> std::io::Result<Connection> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Connection { stream, buffer: Vec::with_capacity(4096) })
    }

    /// Sends a request and reads its response. After an error, or when the response says so, the connection is over: the second
    /// value tells whether it may be used again.
    pub async fn exchange(&mut self, request: &Request, keep_body: bool) -> Result<(Response, bool), String> {
        self.stream.write_all(&request.bytes).await.map_err(|error| format!("could not send: {error}"))?;
        loop {
            let (mut response, framing) = self.head(request.without_body).await?;
            // 1xx come before the response proper (RFC 9110 §15.2).
            if response.status < 200 {
                continue;
            }
            match framing {
                Framing::Length(length) => self.exactly(length, keep_body.then_some(&mut response.body)).await?,
                Framing::Chunked => self.chunks(keep_body.then_some(&mut response.body)).await?,
                Framing::Closing => self.read_to_end(keep_body.then_some(&mut response.body)).await?,
            }
            let again = response.keep_alive && !matches!(framing, Framing::Closing);
            return Ok((response, again));
        }
    }

    async fn head(&mut self, without_body: bool) -> Result<(Response, Framing), String> {
        loop {
            let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
            let mut parsed = httparse::Response::new(&mut fields);
            match parsed.parse(&self.buffer) {
                Ok(httparse::Status::Complete(length)) => {
                    let read = response(&parsed, without_body);
                    self.buffer.drain(..length);
                    return read;
                }
                Ok(httparse::Status::Partial) if self.buffer.len() >= HEAD_BYTES_MAX => {
                    return Err(format!("a response head of more than {HEAD_BYTES_MAX} bytes"));
                }
                Ok(httparse::Status::Partial) => self.more().await?,
                Err(error) => return Err(format!("no HTTP response: {error}")),
            }
        }
    }

    async fn exactly(&mut self, mut length: u64, mut kept: Option<&mut Vec<u8>>) -> Result<(), String> {
        while length > 0 {
            if self.buffer.is_empty() {
                self.more().await?;
            }
            let take = usize::try_from(length).unwrap_or(usize::MAX).min(self.buffer.len());
            if let Some(kept) = &mut kept {
                keep(kept, &self.buffer[..take])?;
            }
            self.buffer.drain(..take);
            length -= take as u64;
        }
        Ok(())
    }

    async fn chunks(&mut self, mut kept: Option<&mut Vec<u8>>) -> Result<(), String> {
        loop {
            let line = self.line().await?;
            let size = line.split(|byte| *byte == b';').next().unwrap_or_default();
            let size = std::str::from_utf8(size).ok().and_then(|text| u64::from_str_radix(text.trim(), 16).ok());
            let size = size.ok_or("a chunk without a size")?;
            if size == 0 {
                // Trailers end with an empty line.
                while !self.line().await?.is_empty() {}
                return Ok(());
            }
            self.exactly(size, kept.as_deref_mut()).await?;
            if !self.line().await?.is_empty() {
                return Err("a chunk longer than its size".to_owned());
            }
        }
    }

    async fn read_to_end(&mut self, mut kept: Option<&mut Vec<u8>>) -> Result<(), String> {
        loop {
            if let Some(kept) = &mut kept {
                keep(kept, &self.buffer)?;
            }
            self.buffer.clear();
            match self.stream.read_buf(&mut self.buffer).await {
                Ok(0) => return Ok(()),
                Ok(_) => {}
                Err(error) => return Err(format!("the response broke off: {error}")),
            }
        }
    }

    async fn line(&mut self) -> Result<Vec<u8>, String> {
        loop {
            if let Some(end) = self.buffer.windows(2).position(|pair| pair == b"\r\n") {
                let line = self.buffer[..end].to_vec();
                self.buffer.drain(..end + 2);
                return Ok(line);
            }
            if self.buffer.len() >= HEAD_BYTES_MAX {
                return Err("a line of a chunked body without an end".to_owned());
            }
            self.more().await?;
        }
    }

    async fn more(&mut self) -> Result<(), String> {
        match self.stream.read_buf(&mut self.buffer).await {
            Ok(0) => Err("the connection was closed before the response was whole".to_owned()),
            Ok(_) => Ok(()),
            Err(error) => Err(format!("the response broke off: {error}")),
        }
    }
}

fn keep(kept: &mut Vec<u8>, bytes: &[u8]) -> Result<(), String> {
    if kept.len() + bytes.len() > BODY_BYTES_MAX {
        return Err(format!("a response body of more than {BODY_BYTES_MAX} bytes"));
    }
    kept.extend_from_slice(bytes);
    Ok(())
}

fn response(parsed: &httparse::Response, without_body: bool) -> Result<(Response, Framing), String> {
    let status = parsed.code.unwrap_or(0);
    let fields: Vec<(String, Vec<u8>)> =
        parsed.headers.iter().map(|field| (field.name.to_ascii_lowercase(), field.value.to_vec())).collect();
    let value = |name: &str| fields.iter().find(|field| field.0 == name).map(|field| String::from_utf8_lossy(&field.1));
    let chunked = value("transfer-encoding").is_some_and(|coding| coding.to_ascii_lowercase().contains("chunked"));
    let framing = match value("content-length") {
        _ if without_body || status == 204 || status == 304 || status < 200 => Framing::Length(0),
        _ if chunked => Framing::Chunked,
        Some(length) => Framing::Length(length.trim().parse().map_err(|_| format!("content-length is {length:?}"))?),
        None => Framing::Closing,
    };
    let closes = value("connection").is_some_and(|option| option.eq_ignore_ascii_case("close"));
    let keep_alive = !closes && parsed.version == Some(1);
    Ok((Response { status, keep_alive, fields, body: Vec::new() }, framing))
}
