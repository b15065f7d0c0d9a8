//! ADS: admits proxies and serves each from the snapshot, sending only what a change touched.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use meltemi_identity::SpiffeId;
use meltemi_mesh::{ProxyIdentity, ProxyKind, ProxyView, impact};
use meltemi_proto::envoy::config::core::v3::Node;
use meltemi_proto::node::{NodeId, NodeKind, NodeMetadata};
use meltemi_proto::type_url;
use meltemi_xds::server::{Handler, Session, StreamInfo};
use meltemi_xds::{ResourceSet, Subscription};
use tokio::time::Instant;
use tonic::Status;

use crate::access::ReviewAccess;
use crate::authenticate::Authenticator;
use crate::connections::{Arrival, Inbox, Registered};
use crate::hub::{Handle, Published};
use crate::metrics::{Metrics, type_label};
use crate::peer::PeerInfo;
use crate::resources::Cache;

/// Serves all proxies.
pub struct AdsHandler {
    /// The snapshots.
    pub hub: Handle,
    /// Checks who connects.
    pub authenticator: Authenticator,
    /// Tells which gateways may have keys.
    pub access: Arc<dyn ReviewAccess>,
    /// Resources made already.
    pub cache: Arc<Cache>,
    /// Counters.
    pub metrics: Arc<Metrics>,
    /// After this time a stream is ended, a little sooner or later so that not all come back at once.
    pub max_age: Duration,
}

#[tonic::async_trait]
impl Handler for AdsHandler {
    type Session = ProxySession;

    async fn open(&self, info: StreamInfo) -> Result<ProxySession, Status> {
        let caller = self.authenticator.caller(&info.peer.metadata, &info.peer.extensions).await;
        let caller = caller.inspect_err(|status| {
            tracing::warn!(node = info.node.id, reason = status.message(), "proxy refused");
        })?;
        let identity = identify(&info.node, caller.as_ref())?;
        let keys = self.may_have_keys(&identity, caller.as_ref()).await?;
        // Before everything is read, an answer would say that things are gone which we just do not know yet.
        let Some(now) = self.hub.first().await else { return Err(Status::unavailable("istiod is stopping")) };
        let remote = info.peer.extensions.get::<PeerInfo>().map(|peer| peer.remote).or(info.peer.remote);
        let arrival = Arrival {
            id: info.id,
            node_id: info.node.id,
            identity: identity.clone(),
            principal: caller.map(|caller| caller.to_string()),
            remote,
            delta: info.delta,
        };
        let registered = self.hub.connections.register(arrival).map_err(|error| {
            tracing::warn!(%error, "proxy refused");
            Status::resource_exhausted(error.to_string())
        })?;
        // Registered first, so that no push falls between; what was published meanwhile is taken here.
        let now = self.hub.current().unwrap_or(now);
        let view = Arc::new(ProxyView::of(&now.snapshot, &identity));
        registered.set_view(view.clone());
        tracing::info!(proxy = registered.proxy_name(), delta = info.delta, id = info.id, "proxy connected");
        Ok(ProxySession {
            connection: registered,
            view,
            now,
            cache: self.cache.clone(),
            metrics: self.metrics.clone(),
            keys,
            since: None,
            expires: Instant::now() + self.max_age.mul_f64(0.9 + 0.2 * jitter(info.id)),
        })
    }
}

impl AdsHandler {
    /// Private keys are only for gateways that proved who they are and that the API server would let read them itself.
    async fn may_have_keys(
        &self,
        identity: &ProxyIdentity,
        caller: Option<&SpiffeId>,
    ) -> Result<bool, Status> {
        let (ProxyKind::Router, Some(caller)) = (identity.kind, caller) else { return Ok(false) };
        let answer = self.access.may_list_secrets(caller).await;
        let allowed = answer.map_err(|error| {
            // To serve it without its keys would take them away.
            Status::unavailable(format!("cannot find out whether {caller} may have keys: {error}"))
        })?;
        if !allowed {
            tracing::warn!(
                %caller,
                "a gateway gets no keys: its service account needs a Role that lets it list secrets of its namespace"
            );
        }
        Ok(allowed)
    }
}

/// Who a proxy is: what it says of itself, held against what it proved.
pub fn identify(node: &Node, caller: Option<&SpiffeId>) -> Result<ProxyIdentity, Status> {
    let id: NodeId = node.id.parse().map_err(|error| Status::invalid_argument(format!("{error}")))?;
    let kind = match id.kind {
        NodeKind::Sidecar => ProxyKind::Sidecar,
        NodeKind::Router => ProxyKind::Router,
        other => {
            return Err(Status::invalid_argument(format!(
                "proxies of kind {} are not served",
                other.as_str()
            )));
        }
    };
    let metadata = match &node.metadata {
        Some(metadata) => NodeMetadata::from_struct(metadata)
            .map_err(|error| Status::invalid_argument(format!("node metadata: {error}")))?,
        None => NodeMetadata::default(),
    };
    if let Some(caller) = caller {
        check_claims(&id, &metadata, caller)?;
    }
    let service_account =
        caller.map_or_else(|| metadata.service_account.clone(), |c| c.service_account.clone());
    Ok(ProxyIdentity {
        kind,
        ips: addresses(&id, &metadata),
        labels: metadata.labels.clone().into_iter().collect(),
        name: id.name,
        namespace: id.namespace,
        service_account,
        extensions: extensions(node),
        metadata,
    })
}

/// A proxy must not be served what another may see.
fn check_claims(id: &NodeId, metadata: &NodeMetadata, caller: &SpiffeId) -> Result<(), Status> {
    let claims = [
        ("the node id's namespace", id.namespace.as_str(), &caller.namespace),
        ("the metadata NAMESPACE", metadata.namespace.as_str(), &caller.namespace),
        ("the metadata SERVICE_ACCOUNT", metadata.service_account.as_str(), &caller.service_account),
    ];
    for (what, claimed, proved) in claims {
        if !claimed.is_empty() && claimed != proved {
            return Err(Status::permission_denied(format!(
                "{what} is {claimed}, but the caller is {caller}"
            )));
        }
    }
    Ok(())
}

fn addresses(id: &NodeId, metadata: &NodeMetadata) -> Vec<IpAddr> {
    let mut ips = vec![id.ip];
    ips.extend(metadata.ips().into_iter().filter(|ip| *ip != id.ip));
    ips
}

/// What a proxy has, by the names of its extensions and by the messages that configure them.
fn extensions(node: &Node) -> BTreeSet<String> {
    let names = node.extensions.iter().map(|extension| extension.name.as_str());
    let types = node.extensions.iter().flat_map(|extension| &extension.type_urls);
    let all = names.chain(types.map(|url| meltemi_proto::any::message_name(url)));
    let mut all: BTreeSet<String> = all.filter(|name| !name.is_empty()).map(str::to_owned).collect();
    if LEAST_REQUEST_AGENTS.contains(&node.user_agent_name.as_str()) {
        all.insert("envoy.load_balancing_policies.least_request".to_owned());
    }
    all
}

/// gRPC's clients do not tell what they have; these are known to balance by the fewest requests.
const LEAST_REQUEST_AGENTS: [&str; 2] = ["gRPC Go", "gRPC Java"];

/// One proxy's stream.
pub struct ProxySession {
    connection: Registered,
    view: Arc<ProxyView>,
    now: Published,
    cache: Arc<Cache>,
    metrics: Arc<Metrics>,
    /// It may have secrets.
    keys: bool,
    /// When the oldest change that is being sent came in.
    since: Option<Instant>,
    expires: Instant,
}

/// A fraction that differs from stream to stream.
fn jitter(id: u64) -> f64 {
    (id.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40) as f64 / (1u64 << 24) as f64
}

impl ProxySession {
    /// Takes pushes in: the types of resources that may be different now.
    fn advance(&mut self, inbox: &Inbox) -> BTreeSet<&'static str> {
        let mut types = BTreeSet::new();
        let Some(last) = inbox.pushes.last() else { return types };
        if inbox.overflown {
            types.extend(type_url::PUSH_ORDER);
            self.since = Some(last.since);
        }
        for push in inbox.pushes.iter().filter(|push| push.now.version > self.now.version) {
            types.extend(impact(&push.changes, &self.view, &push.now.snapshot));
            self.since = self.since.or(Some(push.since));
        }
        if last.now.version > self.now.version {
            self.now = last.now.clone();
        }
        if !types.is_empty() {
            self.view = Arc::new(ProxyView::of(&self.now.snapshot, &self.view.identity));
            self.connection.set_view(self.view.clone());
        }
        types
    }
}

#[tonic::async_trait]
impl Session for ProxySession {
    fn resources(&mut self, type_url: &str, subscription: &Subscription) -> ResourceSet {
        self.connection.note(type_url, |state| {
            if state.subscription.as_ref() != Some(subscription) {
                state.subscription = Some(subscription.clone());
            }
        });
        if type_url == type_url::SECRET && !self.keys {
            return ResourceSet::default();
        }
        let started = Instant::now();
        let set = self.cache.resources(type_url, &self.now, &self.view, subscription);
        self.metrics.push_time.observe(started.elapsed().as_secs_f64());
        set
    }

    async fn changed(&mut self) -> Option<Vec<&'static str>> {
        loop {
            let inbox = tokio::select! {
                inbox = self.connection.pushes() => inbox?,
                () = tokio::time::sleep_until(self.expires) => return None,
            };
            self.since = None;
            let types = self.advance(&inbox);
            if !types.is_empty() {
                if let Some(since) = self.since {
                    self.metrics.queue_time.observe(since.elapsed().as_secs_f64());
                }
                return Some(types.into_iter().collect());
            }
        }
    }

    fn acked(&mut self, type_url: &str, _version: &str, nonce: &str) {
        self.connection.note(type_url, |state| {
            nonce.clone_into(&mut state.acked);
            state.nacked.clear();
            state.error.clear();
        });
    }

    fn nacked(&mut self, type_url: &str, nonce: &str, error: &str) {
        let kind = type_label(type_url);
        tracing::warn!(proxy = self.connection.proxy_name(), kind, error, "proxy refused what it was sent");
        self.metrics.rejects.get_or_create(&vec![("type", kind)]).inc();
        self.connection.note(type_url, |state| {
            nonce.clone_into(&mut state.nacked);
            error.clone_into(&mut state.error);
        });
    }

    fn sent(&mut self, type_url: &str, nonce: &str, resources: usize, bytes: usize) {
        self.metrics.pushed(type_url, bytes);
        if let Some(since) = self.since {
            self.metrics.convergence_time.observe(since.elapsed().as_secs_f64());
        }
        tracing::debug!(
            proxy = self.connection.proxy_name(),
            kind = type_label(type_url),
            resources,
            bytes,
            "pushed"
        );
        self.connection.note(type_url, |state| {
            nonce.clone_into(&mut state.sent);
            state.sent_at = Some(jiff::Timestamp::now());
            (state.resources, state.bytes) = (resources, bytes);
        });
    }
}
