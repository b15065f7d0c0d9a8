//! Secrets: which are wanted, from whom, and one stream for each server that is asked for them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use meltemi_proto::envoy::config::core::v3::config_source::ConfigSourceSpecifier;
use meltemi_proto::envoy::config::core::v3::grpc_service::TargetSpecifier;
use meltemi_proto::envoy::config::core::v3::{ApiConfigSource, ConfigSource};
use meltemi_proto::type_url;
use meltemi_xds::Subscription;
use meltemi_xds::client::{ClientOptions, Service, SubscriptionChange, run};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::SharedFeed;
use super::connect::ClusterConnector;
use super::update::FeedApply;
use crate::filters::Deps;
use crate::tls::secret::Secrets;

/// Who delivers a secret.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Origin {
    Ads,
    Cluster(String),
    Unsupported,
}

fn origin(source: &ConfigSource) -> Origin {
    match &source.config_source_specifier {
        Some(ConfigSourceSpecifier::Ads(_) | ConfigSourceSpecifier::Self_(_)) => Origin::Ads,
        Some(ConfigSourceSpecifier::ApiConfigSource(api)) => {
            cluster_of(api).map_or(Origin::Unsupported, Origin::Cluster)
        }
        _ => Origin::Unsupported,
    }
}

/// The cluster of the first Envoy-style gRPC service.
pub fn cluster_of(api: &ApiConfigSource) -> Option<String> {
    let services = api.grpc_services.iter();
    services
        .filter_map(|service| match &service.target_specifier {
            Some(TargetSpecifier::EnvoyGrpc(grpc)) => Some(grpc.cluster_name.clone()),
            _ => None,
        })
        .next()
}

/// The names wanted over ADS.
pub(super) fn over_ads(secrets: &Secrets) -> BTreeSet<Arc<str>> {
    let wanted = secrets.wanted().into_iter();
    wanted.filter(|(_, source)| origin(source) == Origin::Ads).map(|(name, _)| name).collect()
}

/// The names wanted from servers of their own, by the server's cluster.
pub(super) fn by_source(secrets: &Secrets) -> BTreeMap<String, BTreeSet<Arc<str>>> {
    let mut all: BTreeMap<String, BTreeSet<Arc<str>>> = BTreeMap::new();
    for (name, source) in secrets.wanted() {
        match origin(&source) {
            Origin::Cluster(cluster) => {
                all.entry(cluster).or_default().insert(name);
            }
            Origin::Ads => {}
            Origin::Unsupported => warn!(%name, "this source of a secret is not supported"),
        }
    }
    all
}

/// The streams that are open.
#[derive(Default)]
pub(super) struct SecretFeeds {
    streams: BTreeMap<String, (mpsc::UnboundedSender<SubscriptionChange>, BTreeSet<Arc<str>>)>,
}

impl SecretFeeds {
    /// Tells every server what is wanted now; opens a stream to one that was not asked before.
    pub(super) fn ask(
        &mut self,
        wanted: BTreeMap<String, BTreeSet<Arc<str>>>,
        feed: &SharedFeed,
        (deps, stop): (&Deps, &CancellationToken),
    ) {
        for (cluster, names) in wanted {
            if let Some((wishes, before)) = self.streams.get_mut(&cluster) {
                if *before != names {
                    before.clone_from(&names);
                    let _ = wishes.send((type_url::SECRET, Subscription::Names(names)));
                }
                continue;
            }
            let (wishes, receiver) = mpsc::unbounded_channel();
            let first = vec![(type_url::SECRET, Subscription::Names(names.clone()))];
            let mut options = ClientOptions::new(deps.node.as_ref().clone(), false, first);
            options.service = Service::Sds;
            options.subscriptions = Some(receiver);
            let connector = ClusterConnector::new(deps.clusters.slot(&cluster), Vec::new());
            let apply = FeedApply { feed: feed.clone(), ads: false };
            tokio::task::spawn_local(run(options, connector, apply, stop.clone()));
            self.streams.insert(cluster, (wishes, names));
        }
    }
}
