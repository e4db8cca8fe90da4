//! The service manager: sockets that it hands over (sd_listen_fds(3)), and what it is told (sd_notify(3)). Without one,
//! nothing here does anything.

use front::Inherited;
use listenfd::ListenFd;
use sd_notify::NotifyState;

use crate::Stop;

/// Sockets that the process was started with. They are meant for us alone: call it once, before there are threads, and
/// children find neither them nor their variables.
///
/// # Errors
/// When one of them is neither a listening TCP nor a listening Unix stream socket.
pub fn sockets() -> Result<Vec<Inherited>, Stop> {
    let mut passed = ListenFd::from_env();
    let mut sockets = Vec::new();
    for index in 0..passed.len() {
        if let Ok(Some(listener)) = passed.take_tcp_listener(index) {
            sockets.push(Inherited::Tcp(listener));
        } else if let Ok(Some(listener)) = passed.take_unix_listener(index) {
            sockets.push(Inherited::Unix(listener));
        } else {
            return Err(Stop::Usage(format!(
                "socket {} of those in LISTEN_FDS is no listening stream socket; in the .socket unit, use ListenStream= \
                 and Accept=no",
                index + 1
            )));
        }
    }
    Ok(sockets)
}

/// Every service has a ready worker.
pub fn ready(status: &str) {
    tell(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// A reload has begun; [`ready`] says that it is over.
pub fn reloading() {
    if let Ok(now) = NotifyState::monotonic_usec_now() {
        tell(&[NotifyState::Reloading, now]);
    }
}

/// The drain has begun.
pub fn stopping() {
    tell(&[NotifyState::Stopping]);
}

fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::warn!(%error, "the service manager cannot be told what happens");
    }
}
