//! What a route does with a request.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::StatusCode;
use http::header::HeaderName;
use xxhash_rust::xxh64::xxh64;

use super::headers::Mutations;
use super::matching::PathMatch;
use super::retry::RetryPolicy;
use super::rewrite::{HostRewrite, PathRewrite};
use super::table::without_port;
use crate::base::head::{HeaderKey, RequestHead};
use crate::base::slot::{Slot, Slots};
use crate::matcher::fraction::Fraction;
use crate::upstream::Cluster;
use crate::upstream::balance::schedule::Schedule;

/// What a route does.
pub enum Action {
    /// Sends the request to a cluster.
    Forward(Box<Forward>),
    /// Tells the client to go elsewhere.
    Redirect(Redirect),
    /// Answers.
    Direct(Direct),
}

/// Sending a request upstream.
pub struct Forward {
    /// Which cluster.
    pub target: Target,
    /// Status when the cluster does not exist.
    pub not_found: StatusCode,
    /// Change of the path.
    pub path: PathRewrite,
    /// Change of the host.
    pub host: HostRewrite,
    /// `x-forwarded-host` keeps a host that was changed.
    pub append_forwarded_host: bool,
    /// For the whole response, from the request's end.
    pub timeout: Option<Duration>,
    /// Between events of the stream; the outer `None` leaves it to the connection manager.
    pub idle_timeout: Option<Option<Duration>>,
    /// Upper bound of a client's `grpc-timeout`; `Some(None)` honours it without a bound.
    pub max_grpc_timeout: Option<Option<Duration>>,
    /// For the whole stream.
    pub max_stream_duration: Option<Duration>,
    /// Retries.
    pub retry: Option<RetryPolicy>,
    /// Copies sent elsewhere.
    pub mirrors: Vec<Mirror>,
    /// What consistent hashing looks at.
    pub hash: Vec<HashPolicy>,
    /// `RoutingPriority::High`.
    pub high_priority: bool,
    /// Upgrades allowed or forbidden here.
    pub upgrades: Vec<(String, bool)>,
}

/// Which cluster a request goes to.
pub enum Target {
    /// This one.
    Cluster(Arc<Slot<Cluster>>),
    /// The one a header names.
    Header(HeaderKey, Arc<Slots<Cluster>>),
    /// One of several, by weight.
    Weighted(Weighted),
}

/// Clusters with weights.
pub struct Weighted {
    /// The choices.
    pub choices: Vec<WeightedCluster>,
    /// Their turns: a split is exact over each cycle, not only on average.
    pub turns: Schedule,
    /// Whose turn it is.
    pub next: AtomicUsize,
}

/// One weighted cluster.
pub struct WeightedCluster {
    /// Its cell.
    pub cluster: Arc<Slot<Cluster>>,
    /// Changes to headers when it is chosen.
    pub mutations: Mutations,
    /// Its own host rewrite.
    pub host: Option<String>,
}

/// The cell a [`Target`] chose.
pub struct Chosen<'a> {
    /// The cluster's cell, unless a header named one that does not exist.
    pub cluster: Option<Arc<Slot<Cluster>>>,
    /// The weighted entry, if there was one.
    pub weighted: Option<&'a WeightedCluster>,
}

impl Target {
    /// Chooses a cluster for a request.
    pub fn choose(&self, head: &RequestHead) -> Chosen<'_> {
        match self {
            Self::Cluster(slot) => Chosen { cluster: Some(slot.clone()), weighted: None },
            Self::Header(key, clusters) => {
                let cluster = head.value(key).and_then(|name| clusters.existing(&name));
                Chosen { cluster, weighted: None }
            }
            Self::Weighted(weighted) => {
                let turn = weighted.turns.at(weighted.next.fetch_add(1, Ordering::Relaxed));
                let choice = weighted.choices.get(turn);
                Chosen { cluster: choice.map(|c| c.cluster.clone()), weighted: choice }
            }
        }
    }
}

/// A copy of requests whose response nobody waits for.
pub struct Mirror {
    /// Where it goes.
    pub cluster: Arc<Slot<Cluster>>,
    /// How many.
    pub fraction: Fraction,
    /// `-shadow` is appended to the host.
    pub suffix: bool,
}

/// One thing consistent hashing looks at.
#[derive(Debug, Clone)]
pub struct HashPolicy {
    /// What.
    pub on: HashOn,
    /// Nothing after it is looked at once it gave a value.
    pub terminal: bool,
}

/// What is hashed.
#[derive(Debug, Clone)]
pub enum HashOn {
    /// A header.
    Header(HeaderKey),
    /// A cookie.
    Cookie(String),
    /// The client's address.
    SourceIp,
    /// A query parameter.
    Query(String),
}

impl Forward {
    /// The hash for a request; `None` when nothing it looks at is there.
    pub fn hash(&self, head: &RequestHead, source: Option<IpAddr>) -> Option<u64> {
        let mut hash: Option<u64> = None;
        for policy in &self.hash {
            if let Some(value) = policy.on.value(head, source) {
                hash = Some(hash.map_or(0, |h| h.rotate_left(1)) ^ value);
                if policy.terminal {
                    break;
                }
            }
        }
        hash
    }

    /// Whether an upgrade is allowed here, if this route says anything about it.
    pub fn upgrade(&self, kind: &str) -> Option<bool> {
        self.upgrades.iter().find(|(name, _)| name.eq_ignore_ascii_case(kind)).map(|(_, enabled)| *enabled)
    }
}

impl HashOn {
    fn value(&self, head: &RequestHead, source: Option<IpAddr>) -> Option<u64> {
        let hash = |text: &str| xxh64(text.as_bytes(), 0);
        match self {
            Self::Header(key) => head.value(key).map(|v| hash(&v)),
            Self::Cookie(name) => cookie(head, name).map(hash),
            Self::SourceIp => source.map(|ip| hash(&ip.to_string())),
            Self::Query(name) => {
                let query = head.path.split_once('?')?.1;
                let mut pairs = query.split('&').map(|p| p.split_once('=').unwrap_or((p, "")));
                pairs.find(|(key, _)| key == name).map(|(_, value)| hash(value))
            }
        }
    }
}

fn cookie<'a>(head: &'a RequestHead, name: &str) -> Option<&'a str> {
    let values = head.headers.get_all(http::header::COOKIE).iter().filter_map(|v| v.to_str().ok());
    let mut pairs = values.flat_map(|v| v.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(key, _)| *key == name).map(|(_, value)| value)
}

/// A redirect.
#[derive(Debug)]
pub struct Redirect {
    /// 301, 302, 303, 307 or 308.
    pub status: StatusCode,
    /// New scheme.
    pub scheme: Option<String>,
    /// New host.
    pub host: Option<String>,
    /// New port.
    pub port: Option<u16>,
    /// New path and query.
    pub path: Option<String>,
    /// Change of the path.
    pub rewrite: PathRewrite,
    /// The query is dropped.
    pub strip_query: bool,
}

impl Redirect {
    /// The value of `location`.
    pub fn location(&self, head: &RequestHead, matched: &PathMatch) -> String {
        let scheme = self.scheme.as_deref().unwrap_or(head.scheme);
        let port = self.port.map(|port| format!(":{port}"));
        let authority = match (&self.host, &port) {
            (Some(host), None) => host.clone(),
            (Some(host), Some(port)) => format!("{host}{port}"),
            (None, Some(port)) => format!("{}{port}", without_port(&head.authority)),
            (None, None) => keep_port(&head.authority, head.scheme, scheme),
        };
        let mut path = match (&self.path, self.rewrite.apply(&head.path, matched)) {
            (Some(path), _) if path.contains('?') || self.strip_query => path.clone(),
            (Some(path), _) => match head.path.split_once('?') {
                Some((_, query)) => format!("{path}?{query}"),
                None => path.clone(),
            },
            (None, Some(rewritten)) => rewritten,
            (None, None) => head.path.clone(),
        };
        if self.strip_query && self.path.is_none() {
            path.truncate(path.find('?').unwrap_or(path.len()));
        }
        format!("{scheme}://{authority}{path}")
    }
}

/// A default port must not survive a change of the scheme.
fn keep_port(authority: &str, old: &str, new: &str) -> String {
    let default = if old == "https" { ":443" } else { ":80" };
    match authority.strip_suffix(default) {
        Some(host) if old != new => host.to_owned(),
        _ => authority.to_owned(),
    }
}

/// An answer made here.
#[derive(Debug)]
pub struct Direct {
    /// Its status.
    pub status: StatusCode,
    /// Its body.
    pub body: bytes::Bytes,
}

/// Name of the header that carries the number of attempts.
pub const ATTEMPT_COUNT: HeaderName = HeaderName::from_static("x-envoy-attempt-count");

#[cfg(test)]
mod tests {
    use super::*;

    fn redirect() -> Redirect {
        Redirect {
            status: StatusCode::MOVED_PERMANENTLY,
            scheme: None,
            host: None,
            port: None,
            path: None,
            rewrite: PathRewrite::None,
            strip_query: false,
        }
    }

    #[test]
    fn locations_change_only_what_is_asked() {
        let head =
            RequestHead { authority: "a.b:80".into(), path: "/p?q=1".into(), ..RequestHead::default() };
        let location = |redirect: Redirect| redirect.location(&head, &PathMatch::Prefix("/".into()));
        assert_eq!(location(Redirect { scheme: Some("https".into()), ..redirect() }), "https://a.b/p?q=1");
        assert_eq!(location(Redirect { port: Some(8443), ..redirect() }), "http://a.b:8443/p?q=1");
        assert_eq!(location(Redirect { path: Some("/n".into()), ..redirect() }), "http://a.b:80/n?q=1");
        assert_eq!(location(Redirect { strip_query: true, ..redirect() }), "http://a.b:80/p");
    }
}
