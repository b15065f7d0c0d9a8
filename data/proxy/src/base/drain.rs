//! The drain signal of a listener or a filter chain, and the count of who still uses it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// Tells connections to finish what they do and close. Clones share the signal.
#[derive(Debug, Clone, Default)]
pub struct Drain {
    token: CancellationToken,
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

    /// Raises the signal: HTTP/1.1 answers `connection: close`, HTTP/2 sends GOAWAY, idle connections close.
    pub fn start(&self) {
        self.token.cancel();
    }

    /// Whether draining has begun.
    pub fn started(&self) -> bool {
        self.token.is_cancelled()
    }

    /// Waits for draining to begin.
    pub async fn wait(&self) {
        self.token.cancelled().await;
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
