//! Those who are attached to a container: each gets all that is put out, as fast as it reads.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::mpsc;

use super::Chunk;

/// Pieces that may wait for a client.
const QUEUE: usize = 64;
/// How long a client that takes nothing may hold the program up. After that it misses output until it reads again.
const PATIENCE: Duration = Duration::from_secs(10);

/// One who is attached.
pub struct Client {
    sender: mpsc::Sender<Chunk>,
    stalled: AtomicBool,
}

impl Client {
    /// Hands a piece on.
    pub async fn give(&self, chunk: Chunk) {
        if self.stalled.load(Ordering::Relaxed) {
            let taken = self.sender.try_send(chunk).is_ok();
            self.stalled.store(!taken, Ordering::Relaxed);
        } else if tokio::time::timeout(PATIENCE, self.sender.send(chunk)).await.is_err() {
            self.stalled.store(true, Ordering::Relaxed);
        }
    }
}

/// All who are.
#[derive(Default)]
pub struct Attached(Vec<Arc<Client>>);

impl Attached {
    /// One more.
    pub fn add(&mut self) -> mpsc::Receiver<Chunk> {
        let (sender, receiver) = mpsc::channel(QUEUE);
        self.0.push(Arc::new(Client { sender, stalled: AtomicBool::new(false) }));
        receiver
    }

    /// Those who are still there.
    pub fn all(&mut self) -> Vec<Arc<Client>> {
        self.0.retain(|client| !client.sender.is_closed());
        self.0.clone()
    }
}
