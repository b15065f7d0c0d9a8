//! Spawning on the worker's own thread.

use std::future::Future;

/// An executor for hyper that stays on the current thread: our connections and their futures are not `Send`.
#[derive(Debug, Clone, Copy, Default)]
pub struct LocalExec;

impl<F> hyper::rt::Executor<F> for LocalExec
where
    F: Future<Output = ()> + 'static,
{
    fn execute(&self, future: F) {
        tokio::task::spawn_local(future);
    }
}
