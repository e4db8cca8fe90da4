//! Answers of the front's own: pages and static files.

use bytes::Bytes;
use h2::Reason;
use h2::server::SendResponse;

use super::SEND_BUFFER;
use super::head::response_head;
use crate::active::ActiveRoute;
use crate::dispatch::Reply;
use crate::response::may_have_body;
use crate::static_files::Response;
use crate::thread::Thread;

/// Sends a static file, piece by piece as the client takes it.
pub(super) async fn send_static(thread: &Thread, respond: &mut SendResponse<Bytes>, route: &ActiveRoute, response: Response) {
    let set = &route.response_fields;
    let kept = response.fields().filter(|(name, _)| !set.iter().any(|(other, _)| name.eq_ignore_ascii_case(other.as_bytes())));
    let fields = kept.chain(set.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())));
    let Some(head) = response_head(thread, response.status, fields, None, true) else { return };
    let empty = response.body.is_empty();
    let Ok(mut stream) = respond.send_response(head, empty) else { return };
    let mut left = response.body.len();
    let mut reader = response.body.into_reader();
    let idle = thread.active().settings.timeouts.client_write_idle;
    while left > 0 {
        stream.reserve_capacity(usize::try_from(left).unwrap_or(usize::MAX).min(SEND_BUFFER));
        let room = std::future::poll_fn(|cx| stream.poll_capacity(cx));
        let Ok(Some(Ok(room))) = tokio::time::timeout(idle, room).await else {
            return stream.send_reset(Reason::CANCEL);
        };
        let Ok(Some(piece)) = reader.next(room).await else { return stream.send_reset(Reason::INTERNAL_ERROR) };
        left -= piece.len() as u64;
        if stream.send_data(piece, left == 0).is_err() {
            return;
        }
    }
}

pub(super) fn send_reply(thread: &Thread, respond: &mut SendResponse<Bytes>, reply: &Reply, is_head: bool) {
    let fields = reply.fields.iter().map(|(name, value)| (name.as_bytes(), value.as_slice()));
    let has_body = may_have_body(is_head, reply.status) && !reply.body.is_empty();
    let Some(head) = response_head(thread, reply.status, fields, Some(reply.body.len() as u64), true) else { return };
    // An error means that the client has gone.
    if let Ok(mut stream) = respond.send_response(head, !has_body)
        && has_body
    {
        let _ = stream.send_data(reply.body.clone(), true);
    }
}
