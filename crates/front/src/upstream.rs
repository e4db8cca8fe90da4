//! One request on its way to a service: waits for a worker, is sent, and is sent again when that is safe.

use std::rc::Rc;
use std::task::{Context, Poll};

use link::{Incoming, Stream};
use wire::ResetCode;

use crate::file_response::FileResponse;
use crate::pool::{Pool, Ticket, Unavailable};
use crate::sticky::Preference;

/// How often a request may be sent again after the death of a worker.
pub const RETRIES_MAX: u8 = 2;

/// What the connection learns next.
#[derive(Debug)]
pub enum Event {
    /// A worker has the request.
    Sent,
    /// The worker said something.
    Worker(Incoming),
    /// The worker died or refused, and the request may not be sent again.
    Lost,
    /// No worker, and none to wait for.
    Unavailable(Unavailable),
}

/// A request bound for a service.
#[derive(Debug)]
pub struct Upstream {
    pool: Rc<Pool>,
    /// The encoded REQUEST, kept so that it can be sent again and read for the log.
    frame: Vec<u8>,
    body_in_frame: usize,
    idempotent: bool,
    preference: Preference,
    body_followed: bool,
    response_begun: bool,
    retries: u8,
    place: Place,
    /// The worker has answered with a file, whose content comes from here.
    file: Option<FileResponse>,
}

#[derive(Debug)]
enum Place {
    New,
    Queued(Rc<Ticket>),
    Sent(Stream),
    Over,
}

/// What is known when a worker is lost; the policy is [`may_retry`].
#[derive(Clone, Copy, Debug)]
pub struct Loss {
    /// RFC 9110 §9.2.2.
    pub idempotent: bool,
    /// Some byte of the request had left the front.
    pub sent: bool,
    /// Body bytes followed the frame that is kept.
    pub body_followed: bool,
    /// The client may have seen a part of the response.
    pub response_begun: bool,
    /// Times the request has been sent again so far.
    pub retries: u8,
}

/// Whether a request that lost its worker may go to another one: never when an effect could happen
/// twice, never without all of its body, at most [`RETRIES_MAX`] times.
pub fn may_retry(loss: Loss) -> bool {
    !loss.response_begun && !loss.body_followed && loss.retries < RETRIES_MAX && (loss.idempotent || !loss.sent)
}

impl Upstream {
    /// A request that has not been sent. `frame` is an encoded REQUEST with `body_in_frame` body bytes.
    pub fn new(pool: Rc<Pool>, frame: Vec<u8>, body_in_frame: usize, idempotent: bool) -> Upstream {
        Upstream {
            pool,
            frame,
            body_in_frame,
            idempotent,
            preference: Preference::None,
            body_followed: false,
            response_begun: false,
            retries: 0,
            place: Place::New,
            file: None,
        }
    }

    /// Which worker it is to go to, if that one has room.
    pub fn prefer(mut self, preference: Preference) -> Upstream {
        self.preference = preference;
        self
    }

    /// Which worker it would go to.
    pub fn preference(&self) -> &Preference {
        &self.preference
    }

    /// The pool it waits for or uses.
    pub fn pool(&self) -> &Pool {
        &self.pool
    }

    /// The encoded REQUEST.
    pub fn frame(&self) -> &[u8] {
        &self.frame
    }

    /// Times the request has been sent again.
    pub fn retries(&self) -> u8 {
        self.retries
    }

    /// Gives the frame's memory back for the next request.
    pub fn into_frame(mut self) -> Vec<u8> {
        std::mem::take(&mut self.frame)
    }

    /// The stream, once a worker has the request and as long as it lives.
    pub fn stream(&self) -> Option<&Stream> {
        match &self.place {
            Place::Sent(stream) => Some(stream),
            _ => None,
        }
    }

    /// The stream, for a tunnel that outlives the exchange.
    pub fn take_stream(&mut self) -> Option<Stream> {
        match std::mem::replace(&mut self.place, Place::Over) {
            Place::Sent(stream) => Some(stream),
            _ => None,
        }
    }

    /// Sends body bytes, as many as the stream's credit allows; from here the request is not sent again.
    pub fn send_data(&mut self, bytes: &[u8], end: bool) {
        self.body_followed = true;
        if let Some(stream) = self.stream() {
            stream.send_data(bytes, end);
        }
    }

    /// Ends the request with trailer fields; from here it is not sent again.
    pub fn send_trailers<'f>(&mut self, fields: impl Iterator<Item = (&'f [u8], &'f [u8])> + Clone) {
        self.body_followed = true;
        if let Some(stream) = self.stream() {
            stream.send_trailers(fields);
        }
    }

    /// What happens next.
    pub fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Event> {
        loop {
            if let Some(file) = &mut self.file {
                return file.poll(cx).map(Event::Worker);
            }
            match &self.place {
                Place::New => {
                    if self.try_open() {
                        return Poll::Ready(Event::Sent);
                    }
                    match self.pool.wait() {
                        Ok(ticket) => self.place = Place::Queued(ticket),
                        Err(why) => {
                            self.place = Place::Over;
                            return Poll::Ready(Event::Unavailable(why));
                        }
                    }
                }
                Place::Queued(ticket) => {
                    if !self.pool.is_called(ticket, cx.waker()) {
                        return Poll::Pending;
                    }
                    let ticket = ticket.clone();
                    if self.try_open() {
                        return Poll::Ready(Event::Sent);
                    }
                    if let Err(why) = self.pool.wait_again(&ticket) {
                        self.place = Place::Over;
                        return Poll::Ready(Event::Unavailable(why));
                    }
                }
                Place::Sent(stream) => {
                    let incoming = std::task::ready!(stream.poll_incoming(cx));
                    self.preference.learn(&self.pool.service, stream.key().0, &incoming);
                    match incoming {
                        Incoming::Lost { sent } => {
                            if self.again(sent) {
                                continue;
                            }
                            return Poll::Ready(Event::Lost);
                        }
                        Incoming::Reset { code: ResetCode::Refused, .. } => {
                            self.retries += 1;
                            if self.again(false) {
                                continue;
                            }
                            return Poll::Ready(Event::Lost);
                        }
                        Incoming::File { status, payload } => {
                            self.response_begun = true;
                            self.file = Some(FileResponse::new(status, payload));
                            continue;
                        }
                        Incoming::Response { .. }
                        | Incoming::Tunnel { .. }
                        | Incoming::WsAccept { .. }
                        | Incoming::Informational { .. } => self.response_begun = true,
                        _ => {}
                    }
                    return Poll::Ready(Event::Worker(incoming));
                }
                Place::Over => return Poll::Pending,
            }
        }
    }

    fn try_open(&mut self) -> bool {
        match self.pool.open(&mut self.frame, self.body_in_frame, &self.preference) {
            Some(stream) => {
                self.place = Place::Sent(stream);
                true
            }
            None => false,
        }
    }

    /// Decides about another attempt; `false` leaves the request lost.
    fn again(&mut self, sent: bool) -> bool {
        let loss = Loss {
            idempotent: self.idempotent,
            sent,
            body_followed: self.body_followed,
            response_begun: self.response_begun,
            retries: self.retries,
        };
        if !may_retry(loss) {
            return false;
        }
        if sent {
            self.retries += 1;
        }
        self.place = Place::New;
        true
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        if let Place::Queued(ticket) = &self.place {
            self.pool.leave(ticket);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_cannot_happen_twice_is_sent_again() {
        let get = Loss { idempotent: true, sent: true, body_followed: false, response_begun: false, retries: 0 };
        assert!(may_retry(get));
        assert!(may_retry(Loss { retries: 1, ..get }));
        assert!(!may_retry(Loss { retries: RETRIES_MAX, ..get }));
        assert!(!may_retry(Loss { response_begun: true, ..get }));
        assert!(!may_retry(Loss { body_followed: true, ..get }));
        let post = Loss { idempotent: false, ..get };
        assert!(!may_retry(post));
        assert!(may_retry(Loss { sent: false, ..post }));
    }
}
