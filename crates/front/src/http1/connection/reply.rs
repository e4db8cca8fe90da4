//! Answers of the front's own: pages and static files.

use std::io;

use bytes::Bytes;
use tokio::io::AsyncWriteExt;

use super::{Connection, Io};
use crate::active::ActiveRoute;
use crate::dispatch::Reply;
use crate::http1::response::{Framing, Line, put_head, put_static_head};
use crate::response::may_have_body;
use crate::static_files::{Body, Response};
use crate::thread::SCRATCH;

impl<I: Io> Connection<I> {
    pub(super) fn put_reply(&mut self, reply: &Reply, version: u8, is_head: bool) {
        let active = self.thread.active();
        let framing = if may_have_body(is_head, reply.status) || reply.status == 304 {
            Framing::Length(reply.body.len() as u64)
        } else if is_head {
            Framing::Empty(Some(reply.body.len() as u64))
        } else {
            Framing::Empty(None)
        };
        let line = Line {
            version,
            status: reply.status,
            reason: b"",
            keep_alive: self.keep_alive,
            add_date: true,
            server: active.settings.server_header.as_deref(),
        };
        put_head(&mut self.out, line, reply.fields.iter().map(|(n, v)| (n.as_bytes(), v.as_slice())), framing);
        if matches!(framing, Framing::Length(_)) {
            self.out.extend_from_slice(&reply.body);
        }
    }

    /// Writes the head of a static file's response, and its body if that is in memory. Says the number of body bytes, and the body
    /// that is still to be sent.
    pub(super) fn put_static(&mut self, response: Response, route: &ActiveRoute, version: u8) -> (u64, Option<Body>) {
        let active = self.thread.active();
        let line = Line {
            version,
            status: response.status,
            reason: b"",
            keep_alive: self.keep_alive,
            add_date: true,
            server: active.settings.server_header.as_deref(),
        };
        put_static_head(&mut self.out, line, &response, &route.response_fields);
        let bytes = response.body.len();
        match response.body {
            Body::Empty => (0, None),
            Body::Bytes(body) => {
                self.out.extend_from_slice(&body);
                (bytes, None)
            }
            body => (bytes, Some(body)),
        }
    }

    /// Sends what waits, and then a file.
    pub(super) async fn send_file(&mut self, body: Body) -> io::Result<()> {
        let idle = self.thread.active().settings.timeouts.client_write_idle;
        let head = std::mem::take(&mut self.out);
        let written = std::mem::take(&mut self.written);
        if let Some(tcp) = self.io.tcp() {
            return body.send(tcp, &head[written..], idle).await;
        }
        let mut piece = Bytes::from(head).slice(written..);
        let mut reader = body.into_reader();
        loop {
            match tokio::time::timeout(idle, self.io.write_all(&piece)).await {
                Ok(result) => result?,
                Err(_) => return Err(io::ErrorKind::TimedOut.into()),
            }
            match reader.next(SCRATCH).await? {
                Some(next) => piece = next,
                None => return self.io.flush().await,
            }
        }
    }
}
