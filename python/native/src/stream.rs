//! One request of a WSGI application as its thread sees it: body bytes that come and credit that runs
//! out, with waiting. Never touches Python, so that all waiting is done without the GIL.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use wire::INITIAL_CREDIT;

/// Body bytes the application has taken before the front is told: half a window, so that the front
/// never runs dry and a CREDIT goes out only now and then.
const CREDIT_STEP: u32 = INITIAL_CREDIT / 2;

/// Locks, also after a panic elsewhere: the states here are valid between any two statements.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The two halves of a stream.
pub struct Stream {
    pub id: u32,
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    received: VecDeque<Vec<u8>>,
    receive_ended: bool,
    grant: u32,
    taken: u32,
    credit: u64,
    closed: bool,
}

/// The client has gone, or the link has.
#[derive(Debug)]
pub struct Gone;

/// A chunk of the request's body.
pub struct Chunk {
    pub bytes: Vec<u8>,
    /// What the front is to be granted for it now; 0 for nothing.
    pub grant: u32,
}

impl Stream {
    pub fn new(id: u32, body_bytes: usize, ended: bool) -> Stream {
        Stream {
            id,
            state: Mutex::new(State {
                received: VecDeque::new(),
                receive_ended: ended,
                grant: INITIAL_CREDIT.saturating_sub(body_bytes as u32),
                taken: 0,
                credit: u64::from(INITIAL_CREDIT),
                closed: false,
            }),
            changed: Condvar::new(),
        }
    }

    /// Body bytes have arrived. `Err` says how the front broke the protocol.
    pub fn deliver(&self, body: &[u8], ended: bool) -> Result<(), &'static str> {
        let mut state = lock(&self.state);
        if state.receive_ended {
            return Err("DATA after the end of a request");
        }
        state.grant = state.grant.checked_sub(body.len() as u32).ok_or("more body bytes than granted")?;
        state.receive_ended = ended;
        if !body.is_empty() && !state.closed {
            state.received.push_back(body.to_vec());
        }
        self.changed.notify_all();
        Ok(())
    }

    /// The front takes `bytes` more.
    pub fn add_credit(&self, bytes: u32) {
        let mut state = lock(&self.state);
        state.credit = state.credit.saturating_add(u64::from(bytes));
        self.changed.notify_all();
    }

    /// The stream is over, for both sides.
    pub fn close(&self) {
        let mut state = lock(&self.state);
        state.closed = true;
        state.received.clear();
        self.changed.notify_all();
    }

    pub fn is_closed(&self) -> bool {
        lock(&self.state).closed
    }

    /// Whether the front has sent the whole request.
    pub fn has_received_all(&self) -> bool {
        lock(&self.state).receive_ended
    }

    /// The next chunk, if it is there; `None` when `next_chunk` would wait.
    pub fn ready_chunk(&self) -> Option<Result<Option<Chunk>, Gone>> {
        Self::take(&mut lock(&self.state))
    }

    /// The next chunk, `None` at the body's end. Blocks.
    pub fn next_chunk(&self) -> Result<Option<Chunk>, Gone> {
        let mut state = lock(&self.state);
        loop {
            if let Some(taken) = Self::take(&mut state) {
                return taken;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn take(state: &mut State) -> Option<Result<Option<Chunk>, Gone>> {
        if let Some(bytes) = state.received.pop_front() {
            state.taken += bytes.len() as u32;
            let mut grant = 0;
            if !state.receive_ended && state.taken >= CREDIT_STEP {
                grant = std::mem::take(&mut state.taken);
                state.grant += grant;
            }
            return Some(Ok(Some(Chunk { bytes, grant })));
        }
        if state.receive_ended {
            return Some(Ok(None));
        }
        state.closed.then_some(Err(Gone))
    }

    /// Takes up to `wanted` bytes of credit; 0 when there is none now.
    pub fn take_credit(&self, wanted: usize) -> Result<usize, Gone> {
        let mut state = lock(&self.state);
        if state.closed {
            return Err(Gone);
        }
        let taken = state.credit.min(wanted as u64);
        state.credit -= taken;
        Ok(taken as usize)
    }

    /// Blocks until there is credit.
    pub fn wait_for_credit(&self) -> Result<(), Gone> {
        let mut state = lock(&self.state);
        while state.credit == 0 && !state.closed {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        if state.closed { Err(Gone) } else { Ok(()) }
    }
}
