//! One token a process: when it is cancelled, everything winds down.

use std::io;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::info;

/// The wish to stop, shared by all tasks of a role.
#[derive(Clone, Debug, Default)]
pub struct Shutdown(CancellationToken);

impl Shutdown {
    /// A wish nobody has uttered yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Utters it. Idempotent.
    pub fn request(&self) {
        self.0.cancel();
    }

    /// Has it been uttered?
    pub fn is_requested(&self) -> bool {
        self.0.is_cancelled()
    }

    /// Waits for it.
    pub async fn requested(&self) {
        self.0.cancelled().await;
    }

    /// A part of the process that can be stopped by itself and stops with the whole.
    pub fn child(&self) -> Self {
        Self(self.0.child_token())
    }

    /// The token, for libraries that want one.
    pub fn token(&self) -> CancellationToken {
        self.0.clone()
    }
}

impl From<CancellationToken> for Shutdown {
    fn from(token: CancellationToken) -> Self {
        Self(token)
    }
}

/// Exit status after a second SIGINT, as shells expect.
const INTERRUPTED: i32 = 130;

/// A [`Shutdown`] that SIGTERM and SIGINT request. A second signal ends the process at once.
///
/// # Errors
/// When the handlers cannot be installed.
pub fn signals() -> io::Result<Shutdown> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let shutdown = Shutdown::new();
    let requested = shutdown.clone();
    tokio::spawn(async move {
        let mut next = async || {
            tokio::select! {
                _ = terminate.recv() => "SIGTERM",
                _ = interrupt.recv() => "SIGINT",
            }
        };
        let name = next().await;
        info!(signal = name, "shutting down");
        requested.request();
        next().await;
        std::process::exit(INTERRUPTED);
    });
    Ok(shutdown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_whole_stops_its_parts_and_not_the_other_way() {
        let whole = Shutdown::new();
        let (one, two) = (whole.child(), whole.child());
        one.request();
        assert!(one.is_requested() && !whole.is_requested() && !two.is_requested());
        whole.request();
        two.requested().await;
    }

    #[tokio::test]
    async fn a_signal_requests_it() {
        let shutdown = signals().unwrap();
        nix_kill_self();
        shutdown.requested().await;
    }

    #[allow(unsafe_code)]
    fn nix_kill_self() {
        // SAFETY: sends a signal to this very process, whose handler was installed by `signals`.
        unsafe { libc::kill(libc::getpid(), libc::SIGTERM) };
    }
}
