//! A server that does nothing but answer: what the generator measures against it is the generator's own.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use super::connection::Request;
use super::{Measured, Trial};
use crate::Cancel;

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 2\r\n\r\nok";
/// Connections of a calibration, each with a thread of the null server.
const CONNECTIONS: usize = 16;
/// Where the search begins; requests a second.
const RATE_FIRST: f64 = 1_000.0;
/// Where it ends: enough for any back end on a machine that also runs the generator.
const RATE_MAX: f64 = 256_000.0;

/// Trials of one rate.
const ATTEMPTS: usize = 3;

/// What the generator can do on this machine.
#[derive(Clone, Debug, PartialEq)]
pub struct Ceiling {
    /// The highest rate, by doubling, that it sent in time; the server beside it takes its part of the machine.
    pub rate: f64,
    /// Its own latency at the lowest rate: what every latency here holds of the generator.
    pub floor_seconds: f64,
}

/// Finds the ceiling.
///
/// # Errors
/// When even the lowest rate is too much: the machine is too busy for any verdict on latency.
pub fn calibrate(seconds: f64, seed: u64, cancel: &Cancel) -> Result<Ceiling, String> {
    let address = serve().map_err(|error| format!("the null server cannot start: {error}"))?;
    let bytes = b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n".to_vec();
    let requests = [Request { name: "GET /".to_owned(), bytes, without_body: false, error_expected: false }];
    let trial = |rate| Trial { rate: Some(rate), seconds, connections_max: CONNECTIONS, timeout: Duration::from_secs(5), seed };
    let mut ceiling: Option<Ceiling> = None;
    let mut rate = RATE_FIRST;
    while rate <= RATE_MAX {
        let Some(measured) = attempt(|| super::run(address, &requests, &trial(rate), cancel), seconds)? else { break };
        let floor_seconds = ceiling.map_or(measured.at(0.5), |ceiling| ceiling.floor_seconds);
        ceiling = Some(Ceiling { rate, floor_seconds });
        rate *= 2.0;
    }
    ceiling.ok_or_else(|| {
        format!("the generator cannot send even {RATE_FIRST} requests/s in time: the machine is too busy to measure on")
    })
}

/// A trial that was kept up with: a neighbour that disturbs one is no ceiling.
fn attempt(run: impl Fn() -> Result<Measured, String>, seconds: f64) -> Result<Option<Measured>, String> {
    for _ in 0..ATTEMPTS {
        let measured = run()?;
        if kept_up(&measured, seconds) {
            return Ok(Some(measured));
        }
    }
    Ok(None)
}

fn kept_up(measured: &Measured, seconds: f64) -> bool {
    let rate = measured.sent as f64 / seconds;
    let late = measured.lateness.value_at_quantile(0.99) as f64 / 1e9;
    measured.overrun.is_none() && measured.failed_part() < 0.001 && measured.throughput() > 0.9 * rate && late < 0.005
}

/// Threads that answer every request head; they end with their connections, the listener with the process.
fn serve() -> std::io::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    std::thread::Builder::new().name("null server".to_owned()).spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || answer(stream));
        }
    })?;
    Ok(address)
}

fn answer(mut stream: TcpStream) {
    let _ = stream.set_nodelay(true);
    let mut chunk = [0; 4096];
    let mut pending = Vec::new();
    while let Ok(count @ 1..) = stream.read(&mut chunk) {
        pending.extend_from_slice(&chunk[..count]);
        while let Some(end) = pending.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
            pending.drain(..end + 4);
            if stream.write_all(ANSWER).is_err() {
                return;
            }
        }
    }
}
