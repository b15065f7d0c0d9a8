//! What may be asked of a running engine: to drain, to say so, to end.

use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tracing::info;

use super::Command;
use crate::feed::SharedFeed;

/// Does what the handle and the admin interface ask for, until the end.
pub(super) async fn obey(
    mut commands: mpsc::UnboundedReceiver<Command>,
    feed: &SharedFeed,
    drain_time: Duration,
) {
    while let Some(command) = commands.recv().await {
        match command {
            Command::Quit => return,
            Command::Announce => {
                let chains = feed.borrow().listeners().chains(true);
                chains.iter().for_each(|chain| chain.drain.start());
            }
            Command::Drain { inbound_only, graceful: false, done } => {
                let closed = feed.borrow_mut().listeners_mut().stop_accepting(inbound_only);
                tokio::task::spawn_local(async move {
                    closed.wait().await;
                    finish(done);
                });
            }
            Command::Drain { inbound_only, graceful: true, done } => {
                let feed = feed.clone();
                tokio::task::spawn_local(async move {
                    drain(&feed, inbound_only, drain_time).await;
                    finish(done);
                });
            }
        }
    }
}

fn finish(done: Option<oneshot::Sender<()>>) {
    if let Some(done) = done {
        let _ = done.send(());
    }
}

/// Lets connections finish; new ones are served all the while, because clients learn late that we are leaving.
async fn drain(feed: &SharedFeed, inbound_only: bool, time: Duration) {
    const LOOK: Duration = Duration::from_millis(100);
    info!(inbound_only, ?time, "draining");
    let end = Instant::now() + time;
    let chains = feed.borrow().listeners().chains(inbound_only);
    chains.iter().for_each(|chain| chain.drain.start());
    let open = || chains.iter().map(|chain| chain.drain.active()).sum::<usize>();
    while open() > 0 && Instant::now() < end {
        tokio::time::sleep(LOOK).await;
    }
    let closed = feed.borrow_mut().listeners_mut().stop_accepting(inbound_only);
    closed.wait().await;
    while open() > 0 && Instant::now() < end {
        tokio::time::sleep(LOOK).await;
    }
    chains.iter().for_each(|chain| chain.drain.close());
}
