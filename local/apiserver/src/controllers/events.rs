//! Events live for an hour.

use crate::object::text;
use crate::server::Core;
use std::sync::Arc;
use std::time::Duration;

/// As in the real server.
const LIFE: jiff::SignedDuration = jiff::SignedDuration::from_hours(1);

/// Runs until shutdown.
pub fn spawn(core: Arc<Core>) {
    tokio::spawn(async move {
        loop {
            tokio::select! {
                () = tokio::time::sleep(Duration::from_secs(60)) => expire(&core).await,
                () = core.shutdown.cancelled() => return,
            }
        }
    });
}

async fn expire(core: &Core) {
    let storage: Arc<str> = "/events".into();
    let limit = jiff::Timestamp::now() - LIFE;
    for (key, stored) in core.store.list(&storage, "").items {
        let seen =
            ["/series/lastObservedTime", "/lastTimestamp", "/eventTime", "/metadata/creationTimestamp"];
        let latest = seen.iter().filter_map(|p| text(&stored.value, p).parse::<jiff::Timestamp>().ok()).max();
        if latest.is_none_or(|t| t < limit) {
            // One that has just been seen again stays.
            let _ = core.store.delete(&storage, &key, stored.version).await;
        }
    }
}
