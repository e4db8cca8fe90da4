//! Chat: sockets in one room, where what any of them says is heard by all. The contract is in `suite/README.md`.
//!
//! A closed loop: a message is sent when the last socket has heard the one before. So this finds what a broadcast takes, and not what becomes of
//! it under more load than there is time for.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt};
use serde::Deserialize;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{WebSocketStream, client_async};

use crate::document::Outcome as Answers;
use crate::document::{Comparison, Distribution, Equality, Launch, Settings, Side};
use crate::equality::{Answer, Comparer, Likeness};
use crate::lines::{self, QUANTILES, Trace};
use crate::pace::Pace;
use crate::routes::describe;
use crate::server::{Server, ServerLauncher};
use crate::statistics::change_points::warm_up;
use crate::statistics::order::{self, Which};
use crate::statistics::{mean, median, quantile_sorted};
use crate::subject::Subject;
use crate::{Cancel, Outcome, Watch, measures, processes, rest};

/// About what a launch takes besides what is measured, in seconds.
const LAUNCH_SECONDS: f64 = 1.0;
/// Messages a launch below which its p99 rests on too few.
const PERCENTILE_MESSAGES: usize = 10_000;

/// A room and what is said in it, as `app/cases.py` gives it.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Room {
    /// The room's socket.
    pub target: String,
    /// Sockets that join.
    pub members: usize,
    /// Said one after the other, again and again.
    pub messages: Vec<Said>,
}

/// A message.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Said {
    /// Who says it, by the number of the socket.
    pub member: usize,
    /// What.
    pub text: String,
}

/// Two services with rooms.
#[derive(Clone, Debug, PartialEq)]
pub struct Broadcast {
    /// The two sides.
    pub subject: Subject<ServerLauncher>,
    /// The room.
    pub room: Room,
    /// Longest wait for a message.
    pub timeout: Duration,
}

/// What is heard first, in two launches of each side; then launches in randomised ABBA blocks. Whatever happens, what was measured is
/// returned.
pub fn compare(broadcast: &Broadcast, settings: &Settings, cancel: &Cancel, watch: Watch) -> Outcome {
    let mut comparison = broadcast.subject.comparison();
    comparison.remarks = vec![format!(
        "{} sockets in one room; a message is sent when the last of them has heard the one before, and timed until then",
        broadcast.room.members
    )];
    let after = rest::seconds(settings, rest::load_seconds(settings));
    let mut pace = Pace::new(watch, &broadcast.subject.name, settings, settings.launch_seconds + LAUNCH_SECONDS, after);
    let stopped = all(broadcast, settings, &mut comparison, cancel, &mut pace).err();
    lines::distribution(&mut comparison, "Latency by quantile");
    measures::remark_warm_up(&mut comparison, "their second half was taken");
    measures::derive(&mut comparison, settings, pace.block_seconds());
    Outcome { comparison, stopped }
}

fn all(
    broadcast: &Broadcast,
    settings: &Settings,
    comparison: &mut Comparison,
    cancel: &Cancel,
    pace: &mut Pace<'_>,
) -> Result<(), String> {
    let orders = order::blocks(settings.blocks, settings.seed);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| error.to_string())?;
    pace.say("comparing what is heard");
    comparison.equality = runtime.block_on(compare_heard(broadcast, settings, &mut comparison.sides, cancel))?;
    if comparison.equality.outcome == Answers::Different {
        return Ok(());
    }
    pace.begin_blocks();
    for (block, order) in orders.iter().enumerate() {
        for (position, which) in order.iter().enumerate() {
            let name = &broadcast.subject.sides[which.index()].name;
            pace.say(&format!("block {} of {}, {name}", block + 1, orders.len()));
            let since = pace.elapsed();
            let (mut launch, trace) = measure(broadcast, *which, settings.launch_seconds, &runtime, cancel)?;
            launch.block = u32::try_from(block).unwrap_or(u32::MAX);
            launch.position = u32::try_from(position).unwrap_or(u32::MAX);
            launch.began_seconds = since;
            lines::trace(comparison, &launch.side, "since the first message", &trace);
            comparison.launches.push(launch);
            pace.launched();
        }
    }
    if settings.rest_seconds.is_none() {
        comparison.remarks.push("memory after a rest is not measured in a quick run; --rest asks for it".to_owned());
    }
    let load = |which| talked(broadcast, which, settings, &runtime, cancel);
    comparison.launches.extend(rest::measure(pace, &broadcast.subject.sides, settings, cancel, load, Server::pid)?);
    Ok(())
}

/// Every message once, to two launches of each side. What the services say of their interpreters goes to `sides`.
async fn compare_heard(
    broadcast: &Broadcast,
    settings: &Settings,
    sides: &mut [Side],
    cancel: &Cancel,
) -> Result<Equality, String> {
    let mut heard = Vec::new();
    for launcher in [0, 0, 1, 1] {
        let server = Server::start(&broadcast.subject.launchers[launcher], cancel)?;
        if let Some(side) = sides.get_mut(launcher).filter(|side| side.version.is_none()) {
            let name = side.name.clone();
            describe(side, &name, &server.printed());
        }
        let mut members = Members::join(broadcast, &server).await?;
        let mut answers = Vec::new();
        for said in &broadcast.room.messages {
            answers.push(members.say(said).await?);
        }
        heard.push(answers);
    }
    let mut comparer = Comparer::new(Likeness::default());
    for (index, _) in broadcast.room.messages.iter().enumerate() {
        let answer = |at: usize| Answer { parts: Vec::new(), json: Some(Value::Array(heard[at][index].clone())) };
        let [a, b, c, d] = [0, 1, 2, 3].map(answer);
        comparer.add(&format!("message {}", index + 1), [&a, &b], [&c, &d]);
    }
    Ok(comparer.finish(broadcast.room.messages.len() as u64, 1, settings.confidence))
}

fn measure(
    broadcast: &Broadcast,
    which: Which,
    seconds: f64,
    runtime: &tokio::runtime::Runtime,
    cancel: &Cancel,
) -> Result<(Launch, Trace), String> {
    let server = Server::start(&broadcast.subject.launchers[which.index()], cancel)?;
    let mut values = BTreeMap::from([("start_warm".to_owned(), server.began.elapsed().as_secs_f64())]);
    let memory = || processes::memory(server.pid()).map(|bytes| bytes as f64);
    let idle = memory();
    let mut members = runtime.block_on(Members::join(broadcast, &server))?;
    let joined = memory();
    if let (Some(idle), Some(joined)) = (idle, joined) {
        values.insert("memory_idle".to_owned(), idle);
        values.insert("connection_memory".to_owned(), ((joined - idle) / broadcast.room.members as f64).max(0.0));
    }
    let before = processes::processor_time(server.pid());
    let (samples, sizes) =
        processes::watching(server.pid(), || runtime.block_on(members.talk(&broadcast.room.messages, seconds, cancel)));
    let samples = samples?;
    let cpu = processes::processor_time(server.pid()).saturating_sub(before).as_secs_f64();
    let end = samples.last().map_or(0.0, |sample| sample.0);
    let warm_up = warm_up(&samples);
    let steady_after = warm_up.as_ref().map_or(0.0, |warm_up| warm_up.steady_after_seconds.unwrap_or(end / 2.0));
    let mut steady: Vec<f64> = samples.iter().filter(|sample| sample.0 >= steady_after).map(|sample| sample.1).collect();
    steady.sort_by(f64::total_cmp);
    values.insert("latency_p50".to_owned(), quantile_sorted(&steady, 0.5));
    if steady.len() >= PERCENTILE_MESSAGES {
        values.insert("latency_p99".to_owned(), quantile_sorted(&steady, 0.99));
    }
    values.insert("throughput".to_owned(), 1.0 / mean(&steady));
    values.insert("cpu".to_owned(), cpu / samples.len() as f64);
    let bytes: Vec<f64> = sizes.iter().map(|size| size.1).collect();
    if let Some(peak) = bytes.iter().copied().reduce(f64::max) {
        values.insert("memory_steady".to_owned(), median(&bytes[bytes.len() / 2..]));
        values.insert("memory_peak".to_owned(), peak);
    }
    values.retain(|_, value| value.is_finite());
    let latency = Distribution {
        count: steady.len() as u64,
        quantiles: QUANTILES.map(|quantile| (quantile, quantile_sorted(&steady, quantile))).to_vec(),
    };
    let side = broadcast.subject.sides[which.index()].name.clone();
    let launch = Launch { side, block: 0, position: 0, began_seconds: 0.0, values, warm_up, latency: Some(latency), void: None };
    Ok((launch, Trace { latency: samples, memory: sizes }))
}

/// A launch whose room has been talked in and left, for memory after a rest.
fn talked(
    broadcast: &Broadcast,
    which: Which,
    settings: &Settings,
    runtime: &tokio::runtime::Runtime,
    cancel: &Cancel,
) -> Result<Server, String> {
    let server = Server::start(&broadcast.subject.launchers[which.index()], cancel)?;
    let mut members = runtime.block_on(Members::join(broadcast, &server))?;
    runtime.block_on(members.talk(&broadcast.room.messages, rest::load_seconds(settings), cancel))?;
    Ok(server)
}

/// The sockets of a room.
struct Members {
    sockets: Vec<WebSocketStream<TcpStream>>,
    timeout: Duration,
}

impl Members {
    /// Opens them, and waits until each has been welcomed.
    async fn join(broadcast: &Broadcast, server: &Server) -> Result<Members, String> {
        let room = &broadcast.room;
        if room.members == 0 || room.messages.iter().any(|said| said.member >= room.members) {
            return Err("the room has no members, or one that is none speaks".to_owned());
        }
        let mut members = Members { sockets: Vec::with_capacity(room.members), timeout: broadcast.timeout };
        for _ in 0..room.members {
            let connect = async {
                let stream = TcpStream::connect(server.address).await.map_err(|error| error.to_string())?;
                stream.set_nodelay(true).map_err(|error| error.to_string())?;
                let address = format!("ws://{}{}", server.address, room.target);
                Ok::<_, String>(client_async(address, stream).await.map_err(|error| error.to_string())?.0)
            };
            let joined = tokio::time::timeout(broadcast.timeout, connect).await;
            members.sockets.push(joined.map_err(|_| "a socket was not opened in time".to_owned())??);
        }
        for index in 0..room.members {
            members.hear(index).await?;
        }
        Ok(members)
    }

    /// What each member hears of a message.
    async fn say(&mut self, said: &Said) -> Result<Vec<Value>, String> {
        self.send(said).await?;
        let mut heard = Vec::with_capacity(self.sockets.len());
        for index in 0..self.sockets.len() {
            let text = self.hear(index).await?;
            heard.push(serde_json::from_str(&text).unwrap_or(Value::String(text)));
        }
        Ok(heard)
    }

    /// Messages for a time: seconds since the first one was sent, and until the last member had heard it.
    async fn talk(&mut self, messages: &[Said], seconds: f64, cancel: &Cancel) -> Result<Vec<(f64, f64)>, String> {
        let began = Instant::now();
        let mut samples = Vec::new();
        for said in messages.iter().cycle() {
            if cancel.is_cancelled() {
                return Err("interrupted".to_owned());
            }
            let at = began.elapsed().as_secs_f64();
            if at >= seconds {
                break;
            }
            self.send(said).await?;
            for index in 0..self.sockets.len() {
                self.hear(index).await?;
            }
            samples.push((at, began.elapsed().as_secs_f64() - at));
        }
        Ok(samples)
    }

    async fn send(&mut self, said: &Said) -> Result<(), String> {
        let text = serde_json::json!({ "text": said.text }).to_string();
        let socket = self.sockets.get_mut(said.member).ok_or("who speaks is no member")?;
        socket.send(Message::text(text)).await.map_err(|error| format!("a message could not be sent: {error}"))
    }

    async fn hear(&mut self, index: usize) -> Result<String, String> {
        let socket = &mut self.sockets[index];
        let next = async {
            loop {
                match socket.next().await {
                    Some(Ok(Message::Text(text))) => return Ok(text.as_str().to_owned()),
                    Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                    Some(Ok(other)) => return Err(format!("member {index} heard {other:?}")),
                    Some(Err(error)) => return Err(format!("member {index}: {error}")),
                    None => return Err(format!("member {index}: the socket ended")),
                }
            }
        };
        tokio::time::timeout(self.timeout, next).await.map_err(|_| format!("member {index} heard nothing in time"))?
    }
}
