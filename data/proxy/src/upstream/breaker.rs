//! Circuit breakers: upper bounds of what a cluster may have open at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// The limits of one routing priority. Envoy's defaults: 1024 each, 3 retries.
#[derive(Debug)]
pub struct Breakers {
    /// Connections.
    pub connections: Arc<Limit>,
    /// Requests waiting for a connection.
    pub pending: Arc<Limit>,
    /// Requests in flight.
    pub requests: Arc<Limit>,
    /// Retries in flight.
    pub retries: Arc<Limit>,
}

impl Default for Breakers {
    fn default() -> Self {
        Self::new(1024, 1024, 1024, 3)
    }
}

impl Breakers {
    /// Breakers with the given limits.
    pub fn new(connections: u32, pending: u32, requests: u32, retries: u32) -> Self {
        Self {
            connections: Arc::new(Limit::new(connections)),
            pending: Arc::new(Limit::new(pending)),
            requests: Arc::new(Limit::new(requests)),
            retries: Arc::new(Limit::new(retries)),
        }
    }
}

/// One bound and how much of it is used.
#[derive(Debug)]
pub struct Limit {
    max: u32,
    used: AtomicU32,
}

impl Limit {
    fn new(max: u32) -> Self {
        Self { max, used: AtomicU32::new(0) }
    }

    /// Takes one, unless all are taken.
    pub fn take(self: &Arc<Self>) -> Option<Permit> {
        if self.used.fetch_add(1, Ordering::Relaxed) >= self.max {
            self.used.fetch_sub(1, Ordering::Relaxed);
            return None;
        }
        Some(Permit(self.clone()))
    }

    /// Takes one even if all are taken: a pool may always have one connection.
    pub fn take_anyway(self: &Arc<Self>) -> Permit {
        self.used.fetch_add(1, Ordering::Relaxed);
        Permit(self.clone())
    }

    /// How many are taken.
    pub fn used(&self) -> u32 {
        self.used.load(Ordering::Relaxed)
    }

    /// The bound.
    pub fn max(&self) -> u32 {
        self.max
    }
}

/// One taken piece of a [`Limit`]; given back when dropped.
#[derive(Debug)]
pub struct Permit(Arc<Limit>);

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.used.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_refuses_what_is_too_much_and_takes_back() {
        let limit = Arc::new(Limit::new(1));
        let first = limit.take().unwrap();
        assert!(limit.take().is_none());
        drop(first);
        assert!(limit.take().is_some());
    }
}
