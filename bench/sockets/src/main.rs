//! The bench's WebSocket clients, all on one thread. Prints one line of JSON.
//!
//! It knows no server and no statistics over runs: `bench/run.py` starts it. It trusts its servers as far as a bench may: frames are
//! counted by their heads, contents are not looked at.

mod client;

use std::cell::{Cell, RefCell};
use std::io::Read;
use std::rc::Rc;
use std::time::{Duration, Instant};

use client::Client;

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

/// Sockets that shake hands at the same time.
const OPENING: usize = 64;
/// Sockets from one loopback address, which has some 28,000 ports.
const PER_ADDRESS: usize = 5_000;

const USAGE: &str = "\
bench-sockets echo      ADDRESS PATH SOCKETS SECONDS BYTES          each socket sends, waits for the echo, sends again
bench-sockets broadcast ADDRESS PATH SOCKETS SECONDS BYTES WINDOW   one sends, all get it; WINDOW messages are under way
bench-sockets hold      ADDRESS PATH SOCKETS                        says \"ready\" and holds sockets until stdin ends
bench-sockets latency   ADDRESS PATH SAMPLES                        messages begin with CLOCK_MONOTONIC of their sending, in ns";

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let local = tokio::task::LocalSet::new();
    let line = local.block_on(&runtime, async {
        match words[..] {
            ["echo", address, path, sockets, seconds, bytes] => {
                echo(address, path, sockets.parse()?, seconds.parse()?, bytes.parse()?).await
            }
            ["broadcast", address, path, sockets, seconds, bytes, window] => {
                broadcast(address, path, sockets.parse()?, seconds.parse()?, bytes.parse()?, window.parse()?).await
            }
            ["hold", address, path, sockets] => hold(address, path, sockets.parse()?).await,
            ["latency", address, path, samples] => latency(address, path, samples.parse()?).await,
            _ => Err(USAGE.into()),
        }
    })?;
    println!("{line}");
    Ok(())
}

async fn echo(address: &str, path: &str, sockets: usize, seconds: f64, bytes: usize) -> Outcome<String> {
    let end = Rc::new(Cell::new(None));
    let took = Rc::new(RefCell::new(Vec::new()));
    let mut tasks = Vec::new();
    for mut client in open(address, path, sockets).await? {
        let (end, took) = (end.clone(), took.clone());
        tasks.push(tokio::task::spawn_local(async move {
            let frame = client::frame(bytes);
            loop {
                let begin = Instant::now();
                if end.get().is_some_and(|end| begin >= end) {
                    return Ok::<_, std::io::Error>(());
                }
                client.send(&frame).await?;
                while client.receive().await? == 0 {}
                took.borrow_mut().push(begin.elapsed());
            }
        }));
    }
    // What comes in the first tenth warms up.
    tokio::time::sleep(Duration::from_secs_f64(seconds / 10.0)).await;
    took.borrow_mut().clear();
    let begin = Instant::now();
    end.set(Some(begin + Duration::from_secs_f64(seconds)));
    for task in tasks {
        task.await??;
    }
    let rate = took.borrow().len() as f64 / begin.elapsed().as_secs_f64();
    let mut took = took.borrow_mut();
    Ok(report(rate, &mut took))
}

async fn broadcast(address: &str, path: &str, sockets: usize, seconds: f64, bytes: usize, window: usize) -> Outcome<String> {
    let delivered = Rc::new(Cell::new(0usize));
    let mut clients = open(address, path, sockets).await?;
    let mut sender = clients.swap_remove(0);
    let tasks: Vec<_> = clients
        .into_iter()
        .map(|mut client| {
            let delivered = delivered.clone();
            tokio::task::spawn_local(async move {
                loop {
                    // Read before it is added to: other sockets count meanwhile.
                    let heard = client.receive().await?;
                    delivered.set(delivered.get() + heard);
                }
                #[allow(unreachable_code, reason = "says what an error is")]
                Ok::<(), std::io::Error>(())
            })
        })
        .collect();
    let frame = client::frame(bytes);
    let mut sent = std::collections::VecDeque::new();
    let mut took = Vec::new();
    let (warm, whole) = (Duration::from_secs_f64(seconds / 10.0), Duration::from_secs_f64(seconds * 1.1));
    let mut measured_from = None;
    let start = Instant::now();
    while start.elapsed() < whole {
        if measured_from.is_none() && start.elapsed() >= warm {
            measured_from = Some((Instant::now(), delivered.get()));
            took.clear();
        }
        while sent.len() < window {
            sender.send(&frame).await?;
            sent.push_back(Instant::now());
        }
        let heard = sender.receive().await?;
        delivered.set(delivered.get() + heard);
        took.extend(sent.drain(..heard.min(sent.len())).map(|at| at.elapsed()));
        if tasks.iter().any(tokio::task::JoinHandle::is_finished) {
            return Err("a socket was closed".into());
        }
    }
    let (from, before) = measured_from.ok_or("too short")?;
    let rate = (delivered.get() - before) as f64 / from.elapsed().as_secs_f64();
    Ok(report(rate, &mut took))
}

async fn hold(address: &str, path: &str, sockets: usize) -> Outcome<String> {
    let clients = open(address, path, sockets).await?;
    println!("ready");
    tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new())).await??;
    Ok(format!("{{\"held\": {}}}", clients.len()))
}

async fn latency(address: &str, path: &str, samples: usize) -> Outcome<String> {
    let mut client = Client::open(address, path, 0).await?;
    let mut took = Vec::new();
    let begin = Instant::now();
    while took.len() < samples {
        let payload = client.receive_one().await?;
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        let now = now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64;
        let sent: u64 = std::str::from_utf8(&payload)?.split(' ').next().unwrap_or_default().parse()?;
        took.push(Duration::from_nanos(now.saturating_sub(sent)));
    }
    let rate = took.len() as f64 / begin.elapsed().as_secs_f64();
    // The first tenth warms up.
    took.drain(..samples / 10);
    Ok(report(rate, &mut took))
}

async fn open(address: &str, path: &str, sockets: usize) -> Outcome<Vec<Client>> {
    let mut clients = Vec::with_capacity(sockets);
    while clients.len() < sockets {
        let first = clients.len();
        let some: Vec<_> = (first..sockets.min(first + OPENING))
            .map(|number| {
                let (address, path) = (address.to_owned(), path.to_owned());
                tokio::task::spawn_local(async move { Client::open(&address, &path, number / PER_ADDRESS).await })
            })
            .collect();
        for client in some {
            clients.push(client.await??);
        }
    }
    Ok(clients)
}

fn report(rate: f64, took: &mut [Duration]) -> String {
    took.sort_unstable();
    let at = |share: f64| took.get((took.len() as f64 * share) as usize).map_or(0.0, |took| took.as_secs_f64() * 1e6);
    format!("{{\"messages\": {}, \"rate\": {rate:.1}, \"p50_us\": {:.1}, \"p99_us\": {:.1}}}", took.len(), at(0.5), at(0.99))
}
