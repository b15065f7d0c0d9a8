//! Updates of xDS: each resource is taken in or refused by itself; a refusal leaves the last good one in force.

use std::sync::Arc;
use std::time::SystemTime;

use meltemi_proto::envoy::config::cluster::v3::Cluster;
use meltemi_proto::envoy::config::endpoint::v3::ClusterLoadAssignment;
use meltemi_proto::envoy::config::listener::v3::Listener;
use meltemi_proto::envoy::config::route::v3::RouteConfiguration;
use meltemi_proto::envoy::extensions::transport_sockets::tls::v3::Secret as SecretProto;
use meltemi_proto::type_url;
use meltemi_xds::Resource;
use meltemi_xds::client::{Applied, Apply, Update};
use prost::Message;
use tracing::{info, warn};

use super::registry::{Refused, Source};
use super::{Feed, SharedFeed};
use crate::base::reject::{Compiled, Reject};
use crate::filters::compile_per_route;
use crate::tls::secret::Secret;

/// A stream's hand on the feed.
pub(crate) struct FeedApply {
    pub(crate) feed: SharedFeed,
    /// It is the stream of all types.
    pub(crate) ads: bool,
}

impl Apply for FeedApply {
    fn apply(&mut self, update: Update) -> Applied {
        let mut feed = self.feed.borrow_mut();
        let applied = feed.apply(&update, &self.feed);
        feed.settle(&self.feed);
        applied
    }

    fn connected(&mut self, up: bool) {
        if self.ads {
            let feed = self.feed.borrow();
            feed.control_plane.connected_state().set(u64::from(up));
            info!(up, "control plane");
        }
    }
}

impl Feed {
    fn apply(&mut self, update: &Update, this: &SharedFeed) -> Applied {
        let mut applied = Applied::ok();
        // Removals first: a listener may have left the address that another one wants.
        for name in &update.removed {
            self.remove(update.type_url, name, this);
        }
        for resource in &update.upserts {
            match self.upsert(resource, this) {
                Ok(taken) => self.note_accepted(resource, taken),
                Err(reject) => {
                    let reason = format!("{}: {reject}", resource.name);
                    self.registry.refuse(
                        resource.type_url,
                        &resource.name,
                        Refused {
                            reason: reason.clone(),
                            version: resource.version.clone(),
                            at: SystemTime::now(),
                            body: resource.body.clone(),
                        },
                    );
                    applied.rejected.push((resource.name.clone(), reason));
                }
            }
        }
        self.count(update, applied.rejected.len());
        self.awaited.remove(update.type_url);
        applied
    }

    fn note_accepted(&self, resource: &Resource, taken: bool) {
        let warming = taken && matches!(resource.type_url, type_url::CLUSTER | type_url::LISTENER);
        let source = Source { is_static: false, warming };
        self.registry.accept(
            resource.type_url,
            &resource.name,
            resource.body.clone(),
            &resource.version,
            source,
        );
    }

    fn count(&self, update: &Update, rejected: usize) {
        let (attempts, successes, refusals) = match update.type_url {
            type_url::CLUSTER => {
                let stats = self.clusters.stats();
                (stats.cds_update_attempt(), stats.cds_update_success(), stats.cds_update_rejected())
            }
            type_url::LISTENER => {
                let stats = self.listeners.stats();
                (stats.lds_update_attempt(), stats.lds_update_success(), stats.lds_update_rejected())
            }
            _ => return,
        };
        attempts.inc();
        if rejected > 0 { refusals.inc() } else { successes.inc() }
    }

    fn remove(&mut self, type_url: &'static str, name: &str, this: &SharedFeed) {
        match type_url {
            type_url::CLUSTER => self.clusters.remove(name),
            type_url::LISTENER => self.listeners.remove(name),
            // Routes, endpoints and secrets live as long as something refers to them: an answer that leaves one out must
            // not take it from a listener that uses it. But who waits for it must not wait for ever.
            type_url::ENDPOINT => return self.clusters.not_there(name),
            type_url::ROUTE => return self.route_not_there(name, this),
            _ => return,
        }
        self.registry.remove(type_url, name);
    }

    /// A route table that does not exist may be on its way; after a while there are no routes.
    fn route_not_there(&self, name: &str, this: &SharedFeed) {
        let Some(slot) = self.deps.routes.existing(name).filter(|slot| slot.get().is_none()) else { return };
        let feed = this.clone();
        tokio::task::spawn_local(async move {
            tokio::time::sleep(super::PATIENCE).await;
            if slot.get().is_some() {
                return;
            }
            warn!(route = %slot.name(), "the control plane has no such route configuration");
            let empty = RouteConfiguration { name: slot.name().to_string(), ..Default::default() };
            if let Err(reject) = feed.borrow().route(&empty) {
                warn!(%reject, "an empty route configuration");
            }
            super::settle(&feed);
        });
    }

    fn upsert(&mut self, resource: &Resource, this: &SharedFeed) -> Compiled<bool> {
        match resource.type_url {
            type_url::CLUSTER => {
                self.clusters.upsert(&decode::<Cluster>(resource)?, resource.body.clone(), false, this)
            }
            type_url::ENDPOINT => {
                let assignment = decode::<ClusterLoadAssignment>(resource)?;
                self.clusters.assign(&assignment).map(|()| true)
            }
            type_url::LISTENER => {
                let listener = decode::<Listener>(resource)?;
                self.listeners.upsert(listener, resource.body.clone(), false, &self.deps)
            }
            type_url::ROUTE => self.route(&decode::<RouteConfiguration>(resource)?),
            type_url::SECRET => self.secret(&decode::<SecretProto>(resource)?),
            other => Err(Reject::new("type_url", format!("{other} was not asked for"))),
        }
    }

    fn route(&self, proto: &RouteConfiguration) -> Compiled<bool> {
        let deps =
            crate::route::compile::Deps { clusters: &self.deps.clusters, per_filter: &compile_per_route };
        let table = crate::route::compile::compile(proto, deps)?;
        if let Some(slot) = self.deps.routes.existing(&proto.name) {
            slot.set(Some(Arc::new(table)));
        }
        Ok(true)
    }

    fn secret(&self, proto: &SecretProto) -> Compiled<bool> {
        let secret = Secret::compile(proto)?;
        if let Some(slot) = self.deps.secrets.existing(&proto.name) {
            slot.set(Some(Arc::new(secret)));
        }
        Ok(true)
    }

    /// Takes the static cluster in.
    pub fn static_cluster(&mut self, proto: &Cluster, this: &SharedFeed) -> Compiled<()> {
        let body = bytes::Bytes::from(proto.encode_to_vec());
        self.clusters.upsert(proto, body.clone(), true, this)?;
        self.note_static(type_url::CLUSTER, &proto.name, body);
        Ok(())
    }

    /// Takes the static listener in.
    pub fn static_listener(&mut self, proto: Listener) -> Compiled<()> {
        let body = bytes::Bytes::from(proto.encode_to_vec());
        let name = proto.name.clone();
        self.listeners.upsert(proto, body.clone(), true, &self.deps)?;
        self.note_static(type_url::LISTENER, &name, body);
        Ok(())
    }

    /// Takes a static secret in; `keep` holds its cell.
    pub fn static_secret(&mut self, proto: &SecretProto) -> Compiled<()> {
        let slot = self.deps.secrets.slot(&proto.name);
        slot.set(Some(Arc::new(Secret::compile(proto)?)));
        self.static_secrets.push(slot);
        Ok(())
    }

    fn note_static(&self, type_url: &'static str, name: &str, body: bytes::Bytes) {
        let source = Source { is_static: true, warming: true };
        self.registry.accept(type_url, &name.into(), body, &"".into(), source);
    }
}

fn decode<M: Message + Default>(resource: &Resource) -> Compiled<M> {
    M::decode(resource.body.clone()).map_err(|error| Reject::new("", format!("does not decode: {error}")))
}
