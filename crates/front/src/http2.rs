//! HTTP/2 (RFC 9113) on the crate `h2`: one task a connection, one task a request.

mod exchange;
mod head;
mod prefixed;
mod reply;
mod websocket;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use h2::RecvStream;
use h2::server::SendResponse;

use crate::dispatch::{Peer, Plan, Reply, plan, record_head};
use crate::head::{BodyLength, Head};
use crate::http1::Io;
use crate::static_files::Answer;
use crate::thread::Thread;
use exchange::Exchange;
use head::{accept, join_cookies, read_head};
use prefixed::Prefixed;
use reply::{send_reply, send_static};

/// What a client may send on one stream before the worker has taken it, in bytes; as on a link.
const STREAM_WINDOW: u32 = wire::INITIAL_CREDIT;
/// What a client may send on all streams of a connection before workers have taken it, in bytes.
const CONNECTION_WINDOW: u32 = 4 * wire::INITIAL_CREDIT;
/// Response bytes that `h2` buffers for one stream.
const SEND_BUFFER: usize = 256 * 1024;
/// Streams that a client may open and reset in quick succession (CVE-2023-44487) before it is cut off.
const PENDING_RESETS_MAX: usize = 50;

/// Serves a connection whose client speaks HTTP/2; `read` has been read from it already.
pub async fn serve<I: Io + 'static>(thread: Rc<Thread>, io: I, peer: Peer, read: Vec<u8>) {
    let active = thread.active();
    let timeouts = active.settings.timeouts.clone();
    let limits = &active.settings.limits;
    let mut builder = h2::server::Builder::new();
    builder
        .max_concurrent_streams(limits.http2_streams_max)
        .max_header_list_size(u32::try_from(limits.header_bytes_max).unwrap_or(u32::MAX))
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buffer_size(SEND_BUFFER)
        .max_pending_accept_reset_streams(PENDING_RESETS_MAX)
        .enable_connect_protocol();
    let handshake = builder.handshake::<_, Bytes>(Prefixed { read: Bytes::from(read), io });
    let Ok(Ok(mut connection)) = tokio::time::timeout(timeouts.header, handshake).await else { return };
    let peer = Rc::new(RefCell::new(peer));
    let open = Rc::new(Open::default());
    let deadline = thread.deadlines.register();
    let mut requests = 0;
    let mut closing = false;
    loop {
        // An idle connection is closed; one with requests is bounded by their own deadlines. A client that does not take what
        // is left of them, or the goodbye, is not waited for any longer than for any other that does not read.
        let patience = if closing { timeouts.client_write_idle } else { timeouts.keep_alive };
        let mut armed = None;
        let accepted = std::future::poll_fn(|cx| {
            if let Poll::Ready(accepted) = connection.poll_accept(cx) {
                return Poll::Ready(Some(accepted));
            }
            let idle = open.is_zero(cx);
            if armed != Some(idle) {
                armed = Some(idle);
                deadline.arm(idle.then_some(patience));
            }
            let idle_for_long = deadline.poll(cx).is_ready();
            if idle_for_long || (!closing && thread.draining()) { Poll::Ready(None) } else { Poll::Pending }
        });
        match accepted.await {
            Some(Some(Ok((request, respond)))) => {
                requests += 1;
                if !closing && limits.requests_per_connection_max.is_some_and(|most| requests >= most) {
                    closing = true;
                    connection.graceful_shutdown();
                }
                let exchange = exchange(thread.clone(), peer.clone(), request, respond);
                let open = open.clone();
                open.begin();
                tokio::task::spawn_local(async move {
                    exchange.await;
                    open.end();
                });
            }
            Some(_) => return,
            None if closing => return,
            None => {
                closing = true;
                connection.graceful_shutdown();
            }
        }
    }
}

/// Requests of a connection that are under way.
#[derive(Debug, Default)]
struct Open {
    count: Cell<usize>,
    connection: RefCell<Option<Waker>>,
}

impl Open {
    fn begin(&self) {
        self.count.set(self.count.get() + 1);
    }

    fn end(&self) {
        self.count.set(self.count.get() - 1);
        if self.count.get() == 0
            && let Some(connection) = self.connection.take()
        {
            connection.wake();
        }
    }

    /// Whether there is none; wakes the task when the last one ends.
    fn is_zero(&self, cx: &Context<'_>) -> bool {
        if self.count.get() > 0 {
            *self.connection.borrow_mut() = Some(cx.waker().clone());
        }
        self.count.get() == 0
    }
}

async fn exchange(
    thread: Rc<Thread>,
    peer: Rc<RefCell<Peer>>,
    request: http::Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
) {
    let (parts, mut body) = request.into_parts();
    let cookies = join_cookies(&parts.headers);
    let limits = thread.active().head_limits;
    let (planned, is_head, expect_continue) = match read_head(&parts, &body, cookies.as_deref(), limits) {
        Ok(head) => {
            let complete = head.body == BodyLength::Empty;
            let is_head = head.method == b"HEAD";
            let (planned, id) = plan(&thread, &mut peer.borrow_mut(), &head, &[], complete, Vec::new());
            let answered = match &planned {
                Plan::Reply(reply) => Some((reply.status, reply.body.len() as u64)),
                Plan::Static(_, response) => Some((response.status, response.body.len())),
                Plan::Service(_) | Plan::Lookup(_) => None,
            };
            if let Some((status, bytes)) = answered {
                record_head(&thread, &peer.borrow(), &head, id.as_str(), status, bytes);
            }
            (planned, is_head, head.expect_continue)
        }
        Err(fault) => {
            let id = thread.next_request_id();
            let unread = Head { version: 20, ..Head::unread() };
            let reply = Reply::fault(fault, accept(&parts), id.as_str());
            record_head(&thread, &peer.borrow(), &unread, id.as_str(), reply.status, reply.body.len() as u64);
            (Plan::Reply(reply), parts.method == http::Method::HEAD, false)
        }
    };
    match planned {
        Plan::Reply(reply) => send_reply(&thread, &mut respond, &reply, is_head),
        Plan::Static(route, response) => send_static(&thread, &mut respond, &route, response).await,
        Plan::Lookup(lookup) => match lookup.answer().await {
            Answer::Response(response) => {
                lookup.record(&thread, response.status, response.body.len());
                send_static(&thread, &mut respond, &lookup.route, response).await;
            }
            Answer::Refusal { code, fields } => {
                let reply = Reply::refusal(code, fields, lookup.get("accept"), lookup.id.as_str());
                lookup.record(&thread, reply.status, reply.body.len() as u64);
                send_reply(&thread, &mut respond, &reply, is_head);
            }
        },
        Plan::Service(request) => {
            let exchange = Exchange::new(thread, *request, respond, &mut body, (is_head, expect_continue));
            exchange.run().await;
        }
    }
}
