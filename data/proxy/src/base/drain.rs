//! The drain signal of a filter chain, in two steps, and the count of who still uses it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// Tells connections to come to an end. Clones share the signal.
///
/// First [`start`](Self::start): HTTP/2 sends GOAWAY, HTTP/1.1 answers with `connection: close`; nothing is cut, and an idle
/// HTTP/1.1 connection stays, because its client may be sending just now. Then [`close`](Self::close): idle connections are closed,
/// and what still goes on is cut a drain time-out later.
#[derive(Debug, Clone, Default)]
pub struct Drain {
    started: CancellationToken,
    closing: CancellationToken,
    users: Arc<Users>,
}

#[derive(Debug, Default)]
struct Users {
    count: AtomicUsize,
    left: Notify,
}

impl Drain {
    /// A signal nobody has raised yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks connections to finish.
    pub fn start(&self) {
        self.started.cancel();
    }

    /// Ends what did not finish by itself.
    pub fn close(&self) {
        self.started.cancel();
        self.closing.cancel();
    }

    /// Whether draining has begun.
    pub fn started(&self) -> bool {
        self.started.is_cancelled()
    }

    /// Whether draining is over.
    pub fn closed(&self) -> bool {
        self.closing.is_cancelled()
    }

    /// Waits for draining to begin.
    pub async fn wait(&self) {
        self.started.cancelled().await;
    }

    /// Waits for the end of draining.
    pub async fn closing(&self) {
        self.closing.cancelled().await;
    }

    /// Registers a connection; it counts until the guard is dropped.
    pub fn enter(&self) -> DrainGuard {
        self.users.count.fetch_add(1, Ordering::Relaxed);
        DrainGuard(self.users.clone())
    }

    /// Connections that are still open.
    pub fn active(&self) -> usize {
        self.users.count.load(Ordering::Relaxed)
    }

    /// Waits until no connection is left.
    pub async fn empty(&self) {
        loop {
            let left = self.users.left.notified();
            tokio::pin!(left);
            // Registered before looking, so that a guard dropped in between is not missed.
            left.as_mut().enable();
            if self.active() == 0 {
                return;
            }
            left.await;
        }
    }
}

/// One open connection of a [`Drain`].
#[derive(Debug)]
pub struct DrainGuard(Arc<Users>);

impl Drop for DrainGuard {
    fn drop(&mut self) {
        if self.0.count.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.0.left.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn empty_waits_for_the_last_connection() {
        let drain = Drain::new();
        let one = drain.enter();
        drain.start();
        let waiter = tokio::spawn({
            let drain = drain.clone();
            async move { drain.empty().await }
        });
        tokio::task::yield_now().await;
        assert!(!waiter.is_finished());
        drop(one);
        waiter.await.unwrap();
    }
}
