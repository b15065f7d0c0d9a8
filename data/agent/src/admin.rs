//! The proxy's admin interface, as far as Envoy and our engine have it alike.

use std::time::Duration;

use bytes::Bytes;
use http::Request;

use crate::http_client::{Answer, Target, send};
use crate::istiod::Failure;
use crate::net::Dial;

/// Time limit of a request.
const LIMIT: Duration = Duration::from_secs(5);
/// Limit of an answer, in bytes.
const MAX_BODY: usize = 16 << 20;

/// The admin interface on a port of the loopback.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Admin {
    pub(crate) port: u16,
}

impl Admin {
    /// Sends a request.
    pub(crate) async fn ask(&self, method: &str, path: &str) -> Result<Answer, Failure> {
        let target = Target { host: "127.0.0.1".into(), port: self.port, tls: false, dial: Dial::default() };
        let request =
            Request::builder().method(method).uri(path).header("host", "localhost").body(Bytes::new())?;
        send(&target, request, LIMIT, MAX_BODY).await
    }

    /// Connections of clients that are open now; `None` when the proxy does not answer.
    pub(crate) async fn active_connections(&self) -> Option<u64> {
        let path = "/stats?usedonly&filter=%5Elistener%5C..*%5C.downstream_cx_active%24";
        let answer = self.ask("GET", path).await.ok()?;
        Some(active(&String::from_utf8_lossy(&answer.body)))
    }
}

/// Sums the gauges.
fn active(stats: &str) -> u64 {
    stats
        .lines()
        .filter_map(|line| line.split_once(": "))
        .filter(|(name, _)| is_client_gauge(name))
        .filter_map(|(_, value)| value.trim().parse::<u64>().ok())
        .sum()
}

/// Does a gauge count clients' connections, also those that became something else than HTTP? Not those of the listeners
/// that only the pod's own surroundings use.
pub(crate) fn is_client_gauge(name: &str) -> bool {
    let own = ["admin", "_15021", "_15090", "worker_"].iter().any(|part| name.contains(part));
    let connections = name.starts_with("listener.") && name.ends_with(".downstream_cx_active");
    let upgraded = name.starts_with("http.") && name.ends_with(".downstream_cx_upgrades_active");
    (connections || upgraded) && !own
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_are_summed_without_our_own() {
        let stats = "listener.0.0.0.0_15006.downstream_cx_active: 3\nlistener.0.0.0.0_15021.downstream_cx_active: 9\n\
            listener.0.0.0.0_15006.worker_0.downstream_cx_active: 3\nlistener.admin.downstream_cx_active: 1\n\
            listener.0.0.0.0_15001.downstream_cx_active: 2\n\
            http.inbound_0.0.0.0_9080.downstream_cx_upgrades_active: 1\n";
        assert_eq!(active(stats), 6);
    }
}
