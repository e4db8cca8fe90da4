//! One client's socket: as much of RFC 6455 as the bench needs, with as little of the machine as can be: it is the servers'.

use std::cell::RefCell;
use std::io::{Error, ErrorKind, Result};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

thread_local! {
    /// What every socket of the thread reads into.
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; 64 * 1024].into());
}

/// An open socket. It holds no buffer while nothing is half read.
pub struct Client {
    stream: TcpStream,
    rest: Vec<u8>,
    pongs: Vec<u8>,
}

impl Client {
    /// Shakes hands, from the loopback address of this number.
    pub async fn open(address: &str, path: &str, from: usize) -> Result<Client> {
        let address: SocketAddr = address.parse().map_err(Error::other)?;
        let socket = TcpSocket::new_v4()?;
        socket.set_nodelay(true)?;
        if from > 0 {
            socket.set_reuseaddr(true)?;
            socket.bind(SocketAddrV4::new(Ipv4Addr::new(127, 0, 0, 1 + from as u8), 0).into())?;
        }
        let mut stream = socket.connect(address).await?;
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await?;
        let mut rest = Vec::new();
        let head = loop {
            if stream.read_buf(&mut rest).await? == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
            if let Some(at) = rest.windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 4;
            }
        };
        if !rest.starts_with(b"HTTP/1.1 101") {
            return Err(Error::other(format!("no WebSocket: {}", String::from_utf8_lossy(&rest[..head]))));
        }
        rest.drain(..head);
        Ok(Client { stream, rest, pongs: Vec::new() })
    }

    pub async fn send(&mut self, frame: &[u8]) -> Result<()> {
        self.stream.write_all(frame).await
    }

    /// Reads once; how many messages that made whole.
    pub async fn receive(&mut self) -> Result<usize> {
        let messages = loop {
            self.stream.readable().await?;
            match SCRATCH.with_borrow_mut(|buffer| self.read(buffer)) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                read => break read?,
            }
        };
        if !self.pongs.is_empty() {
            self.stream.write_all(&std::mem::take(&mut self.pongs)).await?;
        }
        Ok(messages)
    }

    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let kept = self.rest.len();
        buffer[..kept].copy_from_slice(&self.rest);
        let n = match self.stream.try_read(&mut buffer[kept..])? {
            0 => return Err(ErrorKind::UnexpectedEof.into()),
            read => kept + read,
        };
        self.rest.clear();
        let (mut at, mut messages) = (0, 0);
        while let Some(frame) = Frame::parse(&buffer[at..n]) {
            messages += usize::from(self.take(&frame, &buffer[at + frame.head..at + frame.whole])?);
            at += frame.whole;
        }
        self.rest.extend_from_slice(&buffer[at..n]);
        Ok(messages)
    }

    /// The payload of the next message.
    pub async fn receive_one(&mut self) -> Result<Vec<u8>> {
        loop {
            if !self.pongs.is_empty() {
                self.stream.write_all(&std::mem::take(&mut self.pongs)).await?;
            }
            if let Some(frame) = Frame::parse(&self.rest) {
                let payload = self.rest[frame.head..frame.whole].to_vec();
                self.rest.drain(..frame.whole);
                if self.take(&frame, &payload)? {
                    return Ok(payload);
                }
            } else if self.stream.read_buf(&mut self.rest).await? == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        }
    }

    /// Whether the frame ends a message. Prepares the answers to pings.
    fn take(&mut self, frame: &Frame, payload: &[u8]) -> Result<bool> {
        match frame.opcode {
            0..=2 => Ok(frame.fin),
            8 => Err(Error::other("the server closed the socket")),
            9 => {
                self.pongs.extend_from_slice(&[0x8a, 0x80 | payload.len() as u8, 0, 0, 0, 0]);
                self.pongs.extend_from_slice(payload);
                Ok(false)
            }
            _ => Ok(false),
        }
    }
}

/// A text message of so many bytes, as a client's frame. The mask is zero, which servers have to apply like any other.
pub fn frame(bytes: usize) -> Vec<u8> {
    let mut frame = vec![0x81];
    match u16::try_from(bytes) {
        Ok(length) if length < 126 => frame.push(0x80 | length as u8),
        Ok(length) => {
            frame.push(0x80 | 126);
            frame.extend_from_slice(&length.to_be_bytes());
        }
        Err(_) => {
            frame.push(0x80 | 127);
            frame.extend_from_slice(&(bytes as u64).to_be_bytes());
        }
    }
    frame.extend_from_slice(&[0; 4]);
    frame.resize(frame.len() + bytes, b'x');
    frame
}

struct Frame {
    fin: bool,
    opcode: u8,
    head: usize,
    whole: usize,
}

impl Frame {
    fn parse(bytes: &[u8]) -> Option<Frame> {
        let (first, second) = (*bytes.first()?, *bytes.get(1)?);
        let (head, length) = match second & 0x7f {
            126 => (4, usize::from(u16::from_be_bytes(*bytes.get(2..4)?.first_chunk()?))),
            127 => (10, u64::from_be_bytes(*bytes.get(2..10)?.first_chunk()?) as usize),
            length => (2, usize::from(length)),
        };
        let whole = head + length;
        (bytes.len() >= whole).then_some(Frame { fin: first & 0x80 != 0, opcode: first & 15, head, whole })
    }
}
