//! Copies of live requests for a candidate, so that its answers and times can be compared with those of the service that answers.
//!
//! The client's own request is not touched: it neither waits nor is its answer looked at. A copied request is asked twice of either
//! service, one after the other: the second answer of each tells noise (dates, ids) from difference, and all four are timed
//! alike. Only GET and HEAD without a body are copied, since these may be asked again (RFC 9110 §9.2.1). What the answers mean is
//! up to who takes them.

use std::cell::Cell;
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use link::Incoming;

use crate::active::ActiveRoute;
use crate::head::Head;
use crate::pool::Pool;
use crate::thread::Thread;
use crate::upstream::{Event, Upstream};

/// Answers that may wait to be taken; more are dropped, since clients come first.
pub const SAMPLES_MAX: usize = 256;
/// Requests that a thread copies at once; others are passed over.
const UNDER_WAY_MAX: usize = 8;
/// The longest wait for an answer.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Bytes kept of a body; of more, only the first are compared.
const BODY_BYTES_MAX: usize = 256 * 1024;
/// A whole, in millionths.
const WHOLE: u32 = 1_000_000;

/// One request, as both services answered it.
#[derive(Clone, Debug)]
pub struct Sample {
    /// The route's pattern.
    pub route: Arc<str>,
    /// The service that answers clients.
    pub own: Arc<str>,
    /// The one that might.
    pub candidate: Arc<str>,
    /// Method and target without its query, which may hold secrets.
    pub name: String,
    /// The client's own fields, among them its secrets: answers that repeat these are not shown with them.
    pub fields: Vec<(Vec<u8>, Vec<u8>)>,
    /// Without its question mark, for the same reason; it is not kept.
    pub query: Vec<u8>,
    /// What the first said, asked twice.
    pub own_answers: [Answer; 2],
    /// What the second said, asked twice.
    pub candidate_answers: [Answer; 2],
}

/// One answer.
#[derive(Clone, Debug, Default)]
pub struct Answer {
    /// 200–599; absent when there was none.
    pub status: Option<u16>,
    /// Names as the application wrote them.
    pub fields: Vec<(Vec<u8>, Vec<u8>)>,
    /// Its first bytes.
    pub body: Vec<u8>,
    /// Why there is no answer, or not all of it.
    pub failure: Option<&'static str>,
    /// Until it was whole.
    pub took: Duration,
}

/// Copies the request if its turn has come. `frame` is the encoded request; `whole` says that it has no body.
pub fn consider(thread: &Thread, route: &ActiveRoute, own: &Rc<Pool>, head: &Head<'_>, whole: bool, frame: &[u8]) {
    let Some(shadow) = &route.shadow else { return };
    let safe = matches!(head.method, b"GET" | b"HEAD") && whole && !head.asks_for_websocket() && head.get("upgrade").is_none();
    let Some(samples) = thread.shared.samples.clone().filter(|_| safe) else { return };
    let gathered = shadow.gathered.get() + shadow.sample_millionths;
    shadow.gathered.set(gathered % WHOLE);
    if gathered < WHOLE || thread.shadows.get() >= UNDER_WAY_MAX {
        return;
    }
    let (own, candidate, pattern) = (own.clone(), shadow.pool.clone(), shadow.pattern.clone());
    let name = format!("{} {}", String::from_utf8_lossy(head.method), String::from_utf8_lossy(head.path()));
    let fields = head.fields.iter().map(|(name, value)| (name.to_vec(), value.to_vec())).collect();
    let query = head.query().to_vec();
    let (frame, under_way) = (frame.to_vec(), UnderWay::begin(&thread.shadows));
    tokio::task::spawn_local(async move {
        let own_first = ask(&own, &frame).await;
        let candidate_first = ask(&candidate, &frame).await;
        let candidate_answers = [candidate_first, ask(&candidate, &frame).await];
        let own_answers = [own_first, ask(&own, &frame).await];
        let names = [own.service.clone(), candidate.service.clone()];
        let [own, candidate] = names;
        // Whoever takes them may be slow or gone; clients do not wait for that.
        let _ = samples.try_send(Sample { route: pattern, own, candidate, name, fields, query, own_answers, candidate_answers });
        drop(under_way);
    });
}

/// One of the copies under way, until it is dropped.
struct UnderWay(Rc<Cell<usize>>);

impl UnderWay {
    fn begin(count: &Rc<Cell<usize>>) -> UnderWay {
        count.set(count.get() + 1);
        UnderWay(count.clone())
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

async fn ask(pool: &Rc<Pool>, frame: &[u8]) -> Answer {
    let began = Instant::now();
    let mut upstream = Upstream::new(pool.clone(), frame.to_vec(), 0, true);
    let mut answer = Answer::default();
    let whole = tokio::time::timeout(TIMEOUT, async {
        loop {
            match poll_fn(|cx| upstream.poll_event(cx)).await {
                Event::Sent => {}
                Event::Worker(incoming) => match take(&mut answer, incoming, &upstream) {
                    Ok(false) => {}
                    Ok(true) => return None,
                    Err(why) => return Some(why),
                },
                Event::Lost => return Some("its worker ended"),
                Event::Unavailable(_) => return Some("no worker was ready"),
            }
        }
    });
    answer.failure = whole.await.unwrap_or(Some("no answer in time"));
    answer.took = began.elapsed();
    answer
}

/// `true` when the answer is whole.
fn take(answer: &mut Answer, incoming: Incoming, upstream: &Upstream) -> Result<bool, &'static str> {
    match incoming {
        Incoming::Response { status, payload, end } => {
            let head = wire::ResponseHead::parse(&payload).map_err(|_| "it broke the protocol")?;
            answer.status = Some(status);
            answer.fields = head.fields.iter().map(|(name, value)| (name.to_vec(), value.to_vec())).collect();
            keep(answer, head.body, upstream);
            Ok(end)
        }
        Incoming::Data { bytes, end } => {
            keep(answer, &bytes, upstream);
            Ok(end)
        }
        Incoming::Trailers { .. } => Ok(true),
        Incoming::Informational { .. } => Ok(false),
        Incoming::Reset { .. } => Err("the application failed"),
        _ => Err("it broke off"),
    }
}

fn keep(answer: &mut Answer, bytes: &[u8], upstream: &Upstream) {
    let room = BODY_BYTES_MAX.saturating_sub(answer.body.len()).min(bytes.len());
    answer.body.extend_from_slice(&bytes[..room]);
    if let Some(stream) = upstream.stream() {
        stream.consumed(bytes.len());
    }
}
