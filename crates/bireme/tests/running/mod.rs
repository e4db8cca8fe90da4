//! A running `bireme serve` or `bireme dev`: its process, its log and its address.

#![allow(dead_code, reason = "each test program has its own copy, and uses a part of it")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

/// Longest wait for anything; a machine under load is slow, and a test that hangs says nothing.
pub const PATIENCE: Duration = Duration::from_secs(60);

pub fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap()
}

/// It is killed when it is dropped.
pub struct Server {
    pub child: Child,
    /// Lines of its log that have been waited through.
    pub log: Vec<String>,
    lines: Receiver<String>,
    /// Where it listens.
    pub address: String,
}

impl Server {
    pub fn start(command: &mut Command) -> Server {
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let (sender, lines) = channel();
        std::thread::spawn(move || stderr.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        Server { child, log: Vec::new(), lines, address: String::new() }
    }

    /// Waits for the line that says where it listens.
    #[track_caller]
    pub fn ready(mut self, said: &str) -> Server {
        let line = self.wait_for(said);
        let rest = line.split(said).nth(1).unwrap();
        let address = rest.split([' ', ';']).next().unwrap();
        self.address = address.trim_start_matches("http://").to_owned();
        self
    }

    #[track_caller]
    pub fn wait_for(&mut self, text: &str) -> String {
        loop {
            match self.lines.recv_timeout(PATIENCE) {
                Ok(line) => {
                    self.log.push(line.clone());
                    if line.contains(text) {
                        return line;
                    }
                }
                Err(_) => panic!("the log never says {text:?}:\n{}", self.log.join("\n")),
            }
        }
    }

    /// Waits for the end; the exit status.
    pub fn end(&mut self) -> Option<i32> {
        while let Ok(line) = self.lines.recv_timeout(PATIENCE) {
            self.log.push(line);
        }
        self.child.wait().unwrap().code()
    }

    /// Asks for a path; what comes is to be read.
    pub fn connect(&self, path: &str) -> TcpStream {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nhost: test\r\naccept: text/html\r\nconnection: close\r\n\r\n").unwrap();
        stream
    }

    /// The body of the answer.
    pub fn get(&self, path: &str) -> String {
        body(self.connect(path))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What follows the head of a response.
pub fn body(mut stream: TcpStream) -> String {
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or(text)
}
