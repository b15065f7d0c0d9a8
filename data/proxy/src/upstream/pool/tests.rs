use super::*;
use crate::telemetry::stats::{Registry, Settings};
use futures_util::poll;

fn pool() -> Rc<HostPool> {
    let deps = crate::upstream::compile::Deps {
        stats: Registry::new(1, Settings::default()),
        secrets: Arc::default(),
        mark: None,
    };
    let proto = meltemi_proto::envoy::config::cluster::v3::Cluster { name: "a".into(), ..Default::default() };
    let cluster = Arc::new(crate::upstream::compile::compile(&proto, false, &deps).unwrap());
    let host = Arc::new(cluster.original_dst_host(([127, 0, 0, 1], 1).into()));
    Pools::default().get(&cluster, &host, Wire::Http1, &Overrides::default())
}

#[tokio::test]
async fn a_wake_that_nobody_takes_goes_on_to_the_next() {
    let pool = pool();
    let (mut first, mut second) = (Box::pin(pool.wait()), Box::pin(pool.wait()));
    assert!(poll!(&mut first).is_pending() && poll!(&mut second).is_pending());
    pool.wake_one();
    drop(first);
    assert!(poll!(&mut second).is_ready());
}

#[tokio::test]
async fn a_failure_to_connect_reaches_all_who_wait() {
    let pool = pool();
    let (mut first, mut second) = (Box::pin(pool.wait()), Box::pin(pool.wait()));
    assert!(poll!(&mut first).is_pending() && poll!(&mut second).is_pending());
    pool.wake_all(&Err(ConnectError::Timeout));
    assert_eq!((first.await, second.await), (Err(ConnectError::Timeout), Err(ConnectError::Timeout)));
}
