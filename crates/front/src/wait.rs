//! What an exchange with a service waits for, for how long, and who has failed when it does not come: the same in every version
//! of HTTP.

use std::time::Duration;

use config::Timeouts;
use wire::ResetCode;

use crate::dispatch::Request;
use crate::fault::Code;

/// What is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// The client takes what is ready for it.
    ClientWrite,
    /// A worker takes the request.
    Queue,
    /// The client goes on with the request's body.
    BodyIdle,
    /// The worker begins its response.
    Response,
    /// The worker goes on with it.
    ResponseIdle,
}

/// Where an exchange stands.
#[derive(Clone, Copy, Debug)]
pub struct Standing {
    /// Something is ready for the client.
    pub to_write: bool,
    /// The response has begun.
    pub begun: bool,
    /// The request's body has been read.
    pub body_done: bool,
}

impl Wait {
    /// What an exchange that makes no progress waits for, and how long it may.
    pub fn of(request: &Request, standing: Standing, timeouts: &Timeouts) -> (Wait, Option<Duration>) {
        let stream = request.upstream.stream();
        let body_awaited = !standing.body_done && stream.is_some_and(|s| !s.local_ended() && s.send_credit() > 0);
        if standing.to_write {
            (Wait::ClientWrite, Some(timeouts.client_write_idle))
        } else if !standing.begun && stream.is_none() {
            (Wait::Queue, Some(request.upstream.pool().limits().queue_timeout))
        } else if body_awaited {
            (Wait::BodyIdle, Some(timeouts.body_idle))
        } else if !standing.begun {
            (Wait::Response, request.response_timeout)
        } else {
            (Wait::ResponseIdle, timeouts.response_idle)
        }
    }

    /// What the client is told when it was in vain, and what the worker.
    pub fn in_vain(self) -> (Code, ResetCode) {
        match self {
            Wait::ClientWrite => (Code::ClientStalled, ResetCode::Cancelled),
            Wait::Queue => (Code::QueueTimeout, ResetCode::Cancelled),
            Wait::BodyIdle => (Code::BodyTimeout, ResetCode::Cancelled),
            Wait::Response => (Code::ResponseTimeout, ResetCode::Deadline),
            Wait::ResponseIdle => (Code::ResponseStalled, ResetCode::Deadline),
        }
    }
}
