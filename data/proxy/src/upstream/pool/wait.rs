//! Requests that wait for a connection, and who wakes them.

use tokio::sync::oneshot;

use super::HostPool;
use crate::upstream::connect::ConnectError;

/// Why a wait is over: to look again, or because the connection waited for did not come about.
pub(super) type Woken = Result<(), ConnectError>;

/// A wait for a connection. Given up after it was woken, it wakes the next one instead.
struct Waiting<'a> {
    pool: &'a HostPool,
    receiver: oneshot::Receiver<Woken>,
}

impl Waiting<'_> {
    async fn woken(mut self) -> Result<Woken, oneshot::error::RecvError> {
        (&mut self.receiver).await
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if let Ok(Ok(())) = self.receiver.try_recv() {
            self.pool.wake_one();
        }
    }
}

impl HostPool {
    pub(super) async fn wait(&self) -> Woken {
        let (sender, receiver) = oneshot::channel();
        self.waiters.borrow_mut().push_back(sender);
        // An error means that the pool is gone, and with it the wait.
        Waiting { pool: self, receiver }.woken().await.unwrap_or(Ok(()))
    }

    /// Lets the one who waits longest look again.
    pub(super) fn wake_one(&self) {
        let mut waiters = self.waiters.borrow_mut();
        while let Some(waiter) = waiters.pop_front() {
            if waiter.send(Ok(())).is_ok() {
                return;
            }
        }
    }

    pub(super) fn wake_all(&self, outcome: &Woken) {
        for waiter in self.waiters.borrow_mut().drain(..) {
            let _ = waiter.send(outcome.clone());
        }
    }
}
