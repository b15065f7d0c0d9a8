//! Mirroring: copies of requests whose answers nobody waits for.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::BodyExt;

use super::attempt::server_name;
use super::exchange::Exchange;
use crate::base::body::Body;
use crate::base::head::RequestHead;
use crate::base::outgoing::Outgoing;
use crate::route::action::{Forward, Mirror};
use crate::tls::client::TlsOverrides;
use crate::upstream::Cluster;
use crate::upstream::balance::Pick;
use crate::upstream::connect::Overrides;
use crate::upstream::pool::{Pools, Wire};

impl Exchange {
    /// Sends copies elsewhere; nobody waits for what they answer. Tells whether there are any.
    pub(super) fn mirror(&self, forward: &Forward) -> bool {
        let mut any = false;
        for mirror in forward.mirrors.iter().filter(|m| m.fraction.draw()) {
            let Some(cluster) = mirror.cluster.get() else { continue };
            self.upload.keep();
            self.send_copy(mirror, cluster, forward.timeout);
            any = true;
        }
        any
    }

    fn send_copy(&self, mirror: &Mirror, cluster: Arc<Cluster>, timeout: Option<Duration>) {
        let head = self.record.state.borrow().head.clone();
        let authority = match (mirror.suffix, head.authority.rsplit_once(':')) {
            (false, _) => head.authority.clone(),
            (true, Some((host, port))) => format!("{host}-shadow:{port}"),
            (true, None) => format!("{}-shadow", head.authority),
        };
        // Copies are requests as well: a slow mirror must not pile them up.
        let Some(permit) = cluster.breakers(false).requests.take() else {
            return cluster.stats.upstream_rq_pending_overflow().inc();
        };
        let body = self.upload.follower();
        let pools = self.conn.pools.clone();
        let http2 = self.conn.http2;
        tokio::task::spawn_local(async move {
            let send = copy(cluster, pools, head, authority, body, http2);
            // A copy without an answer must not live for ever.
            let _ = tokio::time::timeout(timeout.unwrap_or(Duration::from_secs(60)), send).await;
            drop(permit);
        });
    }
}

async fn copy(
    cluster: Arc<Cluster>,
    pools: Rc<Pools>,
    head: RequestHead,
    authority: String,
    body: Body,
    downstream_http2: bool,
) -> Option<()> {
    let pick = Pick { random: fastrand::u64(..), ..Pick::default() };
    let host = cluster.pick(pick)?;
    let wire = Wire::choose(cluster.http.protocol, downstream_http2);
    let sni = cluster.http.auto_sni.then(|| server_name(&authority).into());
    let tls = TlsOverrides { alpn: None, sni, must_match: cluster.http.auto_san_validation };
    let pool = pools.get(&cluster, &host, wire, &Overrides { tls, source: None });
    let mut lease = pool.acquire(false).await.ok()?;
    let RequestHead { method, scheme, path, headers, .. } = &head;
    let request = Outgoing { method, scheme, path, headers, authority: &authority, extra: None, body };
    lease.begin(request)?;
    cluster.stats.upstream_rq_total().inc();
    let mut response = lease.answer().await.ok()?;
    while let Some(frame) = response.body_mut().frame().await {
        frame.ok()?;
    }
    lease.finish();
    Some(())
}
