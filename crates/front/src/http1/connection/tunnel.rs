//! An upgraded connection whose bytes the application reads and writes itself.

use std::task::{Context, Poll};

use link::Incoming;

use super::{After, Connection, Io, OUT_HIGH, Phase, State, Step, Tunnel};

impl<I: Io> Connection<I> {
    pub(super) fn poll_tunnel(&mut self, cx: &mut Context<'_>, tunnel: &mut Tunnel) -> Poll<Step> {
        self.enter(Phase::Unbounded, None, false);
        loop {
            let mut progress = false;
            while !tunnel.worker_done && self.out.len() - self.written < OUT_HIGH {
                let Poll::Ready(event) = tunnel.stream.poll_incoming(cx) else { break };
                progress = true;
                match event {
                    Incoming::Data { bytes, end } => {
                        self.out.extend_from_slice(&bytes);
                        tunnel.unreported += bytes.len();
                        tunnel.worker_done = end;
                    }
                    _ => tunnel.worker_done = true,
                }
            }
            match self.poll_write_out(cx) {
                Poll::Ready(Ok(wrote)) => {
                    progress |= wrote;
                    tunnel.stream.consumed(std::mem::take(&mut tunnel.unreported));
                    if tunnel.worker_done {
                        return Poll::Ready(Step::Next(State::Flush { then: After::Close }));
                    }
                }
                Poll::Ready(Err(_)) => return Poll::Ready(Step::Abort),
                Poll::Pending => {}
            }
            if !tunnel.client_done
                && let Poll::Ready(credit) = tunnel.stream.poll_send_credit(cx)
            {
                let thread = self.thread.clone();
                let mut scratch = thread.scratch.borrow_mut();
                let n = if self.input.is_empty() {
                    let room = credit.min(scratch.len());
                    match self.poll_read(cx, &mut scratch[..room]) {
                        Poll::Ready(Ok(n)) => Some(n),
                        Poll::Ready(Err(_)) => return Poll::Ready(Step::Abort),
                        Poll::Pending => None,
                    }
                } else {
                    let n = credit.min(scratch.len()).min(self.input.len());
                    scratch[..n].copy_from_slice(&self.input[..n]);
                    self.input.drain(..n);
                    Some(n)
                };
                if let Some(n) = n {
                    progress = true;
                    tunnel.client_done = n == 0;
                    tunnel.stream.send_data(&scratch[..n], n == 0);
                }
            }
            if !progress {
                // Registers for nothing but the drain.
                let _ = self.deadline.poll(cx);
                if self.thread.draining() {
                    return Poll::Ready(Step::Abort);
                }
                return Poll::Pending;
            }
        }
    }
}
