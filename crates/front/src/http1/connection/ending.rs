//! After an answer: what is left of a request is read and dropped, and the connection goes on or ends.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use super::{After, Connection, DISCARD_BYTES_MAX, Io, LINGER_BYTES_MAX, LINGER_TIME, Phase, RequestBody, State, Step};
use crate::wait::Wait;

impl<I: Io> Connection<I> {
    pub(super) fn poll_flush_state(&mut self, cx: &mut Context<'_>, then: After) -> Poll<Step> {
        match self.poll_write_out(cx) {
            Poll::Ready(Ok(_)) => {}
            Poll::Ready(Err(_)) => return Poll::Ready(Step::Abort),
            Poll::Pending => return self.poll_stalled(cx),
        }
        if then == After::NextRequest {
            return Poll::Ready(Step::Next(State::Head));
        }
        // Over TLS this writes, too.
        match Pin::new(&mut self.io).poll_shutdown(cx) {
            Poll::Ready(Ok(())) if then == After::Linger => Poll::Ready(Step::Next(State::Linger { left: LINGER_BYTES_MAX })),
            Poll::Ready(_) => Poll::Ready(Step::Abort),
            Poll::Pending => self.poll_stalled(cx),
        }
    }

    /// Waits for a client that does not take what is ready for it, but not for ever.
    fn poll_stalled(&mut self, cx: &mut Context<'_>) -> Poll<Step> {
        let wait = self.thread.active().settings.timeouts.client_write_idle;
        self.enter(Phase::Exchange(Wait::ClientWrite), Some(wait), false);
        self.deadline.poll(cx).map(|()| Step::Abort)
    }

    pub(super) fn poll_discard(&mut self, cx: &mut Context<'_>, body: &mut RequestBody, left: &mut usize) -> Poll<Step> {
        let thread = self.thread.clone();
        self.enter(Phase::Exchange(Wait::BodyIdle), Some(thread.active().settings.timeouts.body_idle), false);
        loop {
            let bytes = if self.input.is_empty() {
                let mut scratch = thread.scratch.borrow_mut();
                match self.poll_read(cx, &mut scratch) {
                    Poll::Ready(Ok(n @ 1..)) => scratch[..n].to_vec(),
                    Poll::Ready(_) => return Poll::Ready(Step::Abort),
                    Poll::Pending => return self.deadline.poll(cx).map(|()| Step::Abort),
                }
            } else {
                std::mem::take(&mut self.input)
            };
            let taken = match body {
                RequestBody::Done => 0,
                RequestBody::Length(rest) => {
                    let taken = usize::try_from(*rest).unwrap_or(usize::MAX).min(bytes.len());
                    *rest -= taken as u64;
                    taken
                }
                RequestBody::Chunked(decoder) => match decoder.decode(&bytes, |_| {}) {
                    Ok(taken) => taken,
                    Err(_) => return Poll::Ready(Step::Abort),
                },
            };
            let over = match body {
                RequestBody::Done => true,
                RequestBody::Length(rest) => *rest == 0,
                RequestBody::Chunked(decoder) => decoder.is_done(),
            };
            if over {
                self.keep_rest(bytes, taken);
                return Poll::Ready(Step::Next(State::Head));
            }
            match left.checked_sub(taken) {
                Some(rest) => *left = rest,
                None => return Poll::Ready(Step::Next(State::Flush { then: After::Linger })),
            }
        }
    }

    pub(super) fn poll_linger(&mut self, cx: &mut Context<'_>, left: &mut usize) -> Poll<Step> {
        self.enter(Phase::Linger, Some(LINGER_TIME), false);
        let thread = self.thread.clone();
        let mut scratch = thread.scratch.borrow_mut();
        loop {
            match self.poll_read(cx, &mut scratch) {
                Poll::Ready(Ok(n @ 1..)) if n <= *left => *left -= n,
                Poll::Ready(_) => return Poll::Ready(Step::Abort),
                Poll::Pending => return self.deadline.poll(cx).map(|()| Step::Abort),
            }
        }
    }

    /// Makes the coming close a reset: the client learns that the response is not whole even where only the end of
    /// the connection delimits it, and the kernel keeps nothing for a client that does not read.
    pub(super) fn cut(&self) {
        if let Some(tcp) = self.io.tcp() {
            // Where it can't be set, the close is an ordinary one.
            let _ = socket2::SockRef::from(tcp).set_linger(Some(Duration::ZERO));
        }
    }
}

impl RequestBody {
    /// Whether what is left of it is worth dropping for the sake of keeping the connection.
    pub(super) fn is_soon_read(&self) -> bool {
        match self {
            RequestBody::Done | RequestBody::Chunked(_) => true,
            RequestBody::Length(left) => *left <= DISCARD_BYTES_MAX as u64,
        }
    }
}
