//! One try to get a response from one host.

use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use http::Response;
use http::header::{HeaderName, HeaderValue};
use tokio::time::Instant;

use super::record::Record;
use super::upload::Upload;
use crate::base::body::Body;
use crate::base::outgoing::Outgoing;
use crate::failure::{BadRequest, Failure};
use crate::filters::alpn::AlpnOverrides;
use crate::route::table::without_port;
use crate::telemetry::info::Protocol;
use crate::tls::client::TlsOverrides;
use crate::upstream::balance::Pick;
use crate::upstream::cluster::Discovery;
use crate::upstream::connect::Overrides;
use crate::upstream::host::ActiveRequest;
use crate::upstream::pool::{HostPool, Lease, Pools, SendFailure, Wire};
use crate::upstream::transport::Transport;
use crate::upstream::{Cluster, Host};

/// The host that was asked for, where that of the endpoint took its place.
pub(super) const ORIGINAL_HOST: HeaderName = HeaderName::from_static("x-envoy-original-host");

/// What all attempts of a request share.
pub(super) struct Plan {
    pub(super) cluster: Arc<Cluster>,
    pub(super) pools: Rc<Pools>,
    pub(super) record: Rc<Record>,
    pub(super) upload: Rc<Upload>,
    pub(super) alpn: Option<Arc<AlpnOverrides>>,
    pub(super) high_priority: bool,
    pub(super) hash: Option<u64>,
    pub(super) auto_host: bool,
    /// Envoy's own headers are not wanted.
    pub(super) suppress_envoy_headers: bool,
    pub(super) downstream_http2: bool,
    /// The request wants to leave HTTP: HTTP/1.1 is used.
    pub(super) upgrade: bool,
    /// The host of the last attempt, also of one that was given up.
    pub(super) picked: Cell<Option<u64>>,
}

/// A response's head with the connection it came on.
pub(super) struct Answer {
    pub(super) response: Response<Body>,
    pub(super) lease: Lease,
    pub(super) active: ActiveRequest,
    pub(super) host: Arc<Host>,
}

/// An attempt without a response.
pub(super) struct Missed {
    pub(super) failure: Failure,
    pub(super) host: Option<u64>,
    /// A reused connection was lost before the host can have acted on the request: another try is free.
    pub(super) stale: bool,
}

impl Missed {
    fn before_host(failure: Failure) -> Self {
        Self { failure, host: None, stale: false }
    }
}

impl Plan {
    /// Tries once. `fresh` insists on a new connection.
    pub(super) async fn attempt(&self, avoid: &[u64], fresh: bool) -> Result<Answer, Missed> {
        let host = self.host(avoid).map_err(Missed::before_host)?;
        self.picked.set(Some(host.id));
        let missed = |failure, stale| Missed { failure, host: Some(host.id), stale };
        {
            let mut state = self.record.state.borrow_mut();
            state.info.upstream.host = Some(host.address.clone());
            if host.peer.is_some() {
                state.info.upstream.peer.clone_from(&host.peer);
            }
        }
        let pool = self.pool(&host);
        let acquired = if fresh {
            pool.acquire_fresh(self.high_priority).await
        } else {
            pool.acquire(self.high_priority).await
        };
        let mut lease = match acquired {
            Ok(lease) => lease,
            Err(error) => {
                self.record.state.borrow_mut().info.upstream.transport_failure =
                    Some(error.to_string().into());
                host.state.errors.fetch_add(1, Ordering::Relaxed);
                return Err(missed(Failure::Connect(error), false));
            }
        };
        self.note(&lease);
        if lease.is_reused() {
            // The connection may turn out to be dead.
            self.upload.keep();
        }
        self.begin(&host, &mut lease)
            .ok_or_else(|| missed(Failure::BadRequest(BadRequest::Malformed), false))?;
        let active = ActiveRequest::begin(host.clone());
        self.cluster.stats.upstream_rq_total().inc();
        let arrived_before = std::mem::replace(&mut self.record.state.borrow_mut().may_have_arrived, true);
        match lease.answer().await {
            Ok(response) => Ok(Answer { response, lease, active, host }),
            Err(failure) => {
                let judged = self.judge(&failure);
                let stale = lease.is_reused()
                    && (failure.unsent || failure.is_left_out() || self.is_safe_to_repeat(&judged));
                if stale {
                    self.record.state.borrow_mut().may_have_arrived = arrived_before;
                }
                host.state.errors.fetch_add(1, Ordering::Relaxed);
                Err(missed(judged, stale))
            }
        }
    }

    /// Whether the connection was lost under a request that cannot do anything twice: its method is idempotent (RFC 9110, 9.2.2).
    /// A host that reset the stream or spoke nonsense was alive: only the retry policy repeats that.
    fn is_safe_to_repeat(&self, failure: &Failure) -> bool {
        let lost = *failure == Failure::UpstreamTerminated;
        let idempotent = self.record.state.borrow().head.method.is_idempotent();
        lost && idempotent && self.upload.can_replay() && !self.upgrade
    }

    fn judge(&self, failure: &SendFailure) -> Failure {
        if self.upload.failed() {
            return Failure::DownstreamGone;
        }
        if let Some(h2) = failure.http2() {
            if h2.is_reset() && h2.is_remote() {
                self.cluster.stats.upstream_rq_rx_reset().inc();
            }
            return match h2.reason() {
                Some(h2::Reason::REFUSED_STREAM) => Failure::UpstreamRefused,
                _ if failure.is_left_out() => Failure::UpstreamRefused,
                _ if h2.is_io() || h2.is_go_away() => Failure::UpstreamTerminated,
                _ if h2.is_remote() => Failure::UpstreamReset,
                _ => Failure::UpstreamProtocol,
            };
        }
        if failure.is_malformed() {
            self.cluster.stats.upstream_cx_protocol_error().inc();
            return Failure::UpstreamProtocol;
        }
        Failure::UpstreamTerminated
    }

    fn host(&self, avoid: &[u64]) -> Result<Arc<Host>, Failure> {
        if let Discovery::OriginalDst { header, port } = &self.cluster.discovery {
            let state = self.record.state.borrow();
            let named = header.as_ref().and_then(|name| state.head.text(name)).and_then(|v| v.parse().ok());
            let mut address: SocketAddr = match named.or(state.info.connection.local.ip()) {
                Some(address) => address,
                None => return Err(Failure::NoHealthyUpstream),
            };
            address.set_port(port.unwrap_or(address.port()));
            return Ok(self.pools.original_dst(&self.cluster, address));
        }
        let pick = Pick { hash: self.hash, random: fastrand::u64(..), avoid };
        self.cluster.pick(pick).ok_or_else(|| {
            self.cluster.stats.upstream_cx_none_healthy().inc();
            Failure::NoHealthyUpstream
        })
    }

    fn pool(&self, host: &Arc<Host>) -> Rc<HostPool> {
        let wire = match self.upgrade {
            true => Wire::Http1,
            false => Wire::choose(self.cluster.http.protocol, self.downstream_http2),
        };
        let alpn = self.alpn.as_ref().and_then(|alpn| alpn.of(wire)).cloned();
        let http = &self.cluster.http;
        let by_tls = matches!(self.cluster.transports.get(host.transport), Transport::Tls(_));
        let state = self.record.state.borrow();
        let sni = (http.auto_sni && by_tls).then(|| server_name(&state.head.authority).into());
        let tls = TlsOverrides { alpn, sni, must_match: http.auto_san_validation };
        let overrides = Overrides { tls, source: state.info.connection.source };
        self.pools.get(&self.cluster, host, wire, &overrides)
    }

    fn note(&self, lease: &Lease) {
        let info = lease.info();
        let mut state = self.record.state.borrow_mut();
        let upstream = &mut state.info.upstream;
        upstream.local.clone_from(&info.local);
        upstream.tls.clone_from(&info.tls);
        upstream.transport_failure = None;
        upstream.protocol = Some(if lease.is_http2() { Protocol::Http2 } else { Protocol::Http11 });
        upstream.connect_duration = (!lease.is_reused()).then_some(info.took);
        state.info.timings.upstream_request_start.get_or_insert_with(Instant::now);
    }

    /// Begins the request on the connection; `None` when its head does not make a valid one.
    fn begin(&self, host: &Host, lease: &mut Lease) -> Option<()> {
        let state = self.record.state.borrow();
        let head = &state.head;
        let rewritten = self.auto_host && !host.hostname.is_empty();
        let original = (rewritten && !self.suppress_envoy_headers)
            .then(|| HeaderValue::from_str(&head.authority).ok())
            .flatten();
        lease.begin(Outgoing {
            method: &head.method,
            scheme: head.scheme,
            authority: if rewritten { &host.hostname } else { &head.authority },
            path: &head.path,
            headers: &head.headers,
            extra: original.map(|original| (ORIGINAL_HOST, original)),
            body: self.upload.body(),
        })
    }
}

/// An authority's host as a certificate names it: without port and without brackets.
pub(super) fn server_name(authority: &str) -> &str {
    without_port(authority).trim_matches(['[', ']'])
}
