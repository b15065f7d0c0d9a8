//! Between the deletion of a pod and its SIGTERM: whoever sends it connections is to stop first.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

/// How long the end of a pod waits for our own services to forget it.
const DRAIN: Duration = Duration::from_secs(2);

/// How long those who watch the endpoints themselves have after that: a mesh takes a moment to tell all its proxies.
const SETTLE: Duration = Duration::from_millis(500);

/// Waits until nobody is expected to send new connections to the address.
pub(super) async fn forgotten(serving: &mut watch::Receiver<Arc<BTreeSet<Ipv4Addr>>>, address: Ipv4Addr) {
    let _ = tokio::time::timeout(DRAIN, serving.wait_for(|all| !all.contains(&address))).await;
    tokio::time::sleep(SETTLE).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    const POD: Ipv4Addr = Ipv4Addr::new(10, 244, 0, 2);

    #[tokio::test(start_paused = true)]
    async fn a_pod_leaves_after_the_services_and_not_with_them() {
        let (services, mut serving) = watch::channel(Arc::new(BTreeSet::from([POD])));
        let left = tokio::spawn(async move { forgotten(&mut serving, POD).await });
        tokio::time::sleep(DRAIN / 2).await;
        assert!(!left.is_finished());
        services.send_replace(Arc::default());
        tokio::time::sleep(SETTLE / 2).await;
        assert!(!left.is_finished(), "others have not heard of it yet");
        left.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn services_that_hang_do_not_keep_a_pod() {
        let (_services, mut serving) = watch::channel(Arc::new(BTreeSet::from([POD])));
        forgotten(&mut serving, POD).await;
    }
}
