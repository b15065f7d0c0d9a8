//! The engine as the admin interface reads it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use meltemi_proto::envoy::admin::v3 as proto;
use meltemi_proto::envoy::config::bootstrap::v3::Bootstrap;
use meltemi_proto::envoy::config::core::v3 as core;
use meltemi_proto::envoy::config::core::v3::socket_address::PortSpecifier;
use meltemi_proto::google::protobuf::Any;
use tokio::sync::{mpsc, watch};

use super::{Command, Options};
use crate::admin::sources::{
    CertificateSource, ClusterSource, ConfigSource, Failure, Lifecycle, ListenerSource, Phase, Resource,
};
use crate::admin::{Admin, certificate_details};
use crate::base::address::Address;
use crate::feed::SharedFeed;
use crate::feed::clusters::ActiveClusters;
use crate::feed::listeners::ActiveListeners;
use crate::feed::registry::{Entry, Registry as Resources};
use crate::filters::Deps;
use crate::telemetry::access_log::Sinks;
use crate::telemetry::stats::Registry;
use crate::tls::secret::{Secret, Secrets};
use crate::upstream::host::Health;
use crate::upstream::{Cluster, Host};

/// Everything the admin interface may read.
pub(super) struct View {
    bootstrap: Bootstrap,
    loaded: SystemTime,
    start: Instant,
    resources: Arc<Resources>,
    clusters: ActiveClusters,
    listeners: ActiveListeners,
    secrets: Arc<Secrets>,
    live: watch::Receiver<bool>,
    failing: AtomicBool,
    draining: AtomicBool,
    commands: mpsc::UnboundedSender<Command>,
    concurrency: u32,
    drain_time: Duration,
}

impl View {
    pub(super) fn new(
        bootstrap: Bootstrap,
        feed: &SharedFeed,
        deps: &Deps,
        (commands, options, concurrency): (mpsc::UnboundedSender<Command>, &Options, usize),
    ) -> Arc<Self> {
        let feed = feed.borrow();
        Arc::new(Self {
            bootstrap,
            loaded: SystemTime::now(),
            start: Instant::now(),
            resources: feed.registry.clone(),
            clusters: feed.clusters().active(),
            listeners: feed.listeners().active(),
            secrets: deps.secrets.clone(),
            live: feed.live(),
            failing: AtomicBool::new(false),
            draining: AtomicBool::new(false),
            commands,
            concurrency: u32::try_from(concurrency).unwrap_or(u32::MAX),
            drain_time: options.drain_time,
        })
    }

    pub(super) fn admin(self: Arc<Self>, stats: Registry, sinks: Sinks) -> Admin {
        Admin {
            config: self.clone(),
            clusters: self.clone(),
            listeners: self.clone(),
            certificates: self.clone(),
            lifecycle: self,
            stats,
            sinks,
        }
    }
}

impl ConfigSource for View {
    fn bootstrap(&self) -> (Bootstrap, SystemTime) {
        (self.bootstrap.clone(), self.loaded)
    }

    fn resources(&self, type_url: &str) -> Vec<Resource> {
        let listed = self.resources.list(type_url).into_iter();
        listed.map(|(name, entry)| resource(type_url, name, entry)).collect()
    }

    fn version(&self, type_url: &str) -> String {
        let listed = self.resources.list(type_url);
        let newest = listed.iter().filter(|(_, e)| !e.is_static).max_by_key(|(_, e)| e.updated);
        newest.map(|(_, entry)| entry.version.to_string()).unwrap_or_default()
    }
}

fn resource(type_url: &str, name: Arc<str>, entry: Entry) -> Resource {
    let any = |body: bytes::Bytes| Any { type_url: type_url.to_owned(), value: body.to_vec() };
    Resource {
        name,
        body: entry.body.map(any),
        version: entry.version,
        updated: entry.updated,
        is_static: entry.is_static,
        phase: if entry.warming { Phase::Warming } else { Phase::Active },
        failure: entry.refused.map(|refused| Failure {
            details: refused.reason,
            version: refused.version,
            attempt: refused.at,
            body: Some(any(refused.body)),
        }),
    }
}

impl ClusterSource for View {
    fn clusters(&self) -> Vec<proto::ClusterStatus> {
        let clusters: Vec<Arc<Cluster>> = self.clusters.lock().values().cloned().collect();
        clusters.iter().map(|cluster| status(cluster)).collect()
    }
}

fn status(cluster: &Cluster) -> proto::ClusterStatus {
    let eds_service_name = match &cluster.discovery {
        crate::upstream::cluster::Discovery::Eds { service } => service.to_string(),
        _ => String::new(),
    };
    proto::ClusterStatus {
        name: cluster.name.to_string(),
        added_via_api: cluster.from_api,
        host_statuses: cluster.hosts.load().hosts.iter().map(|host| host_status(host)).collect(),
        observability_name: cluster.tags.observability_name.to_string(),
        eds_service_name,
        circuit_breakers: Some(breakers(cluster)),
        ..Default::default()
    }
}

fn breakers(cluster: &Cluster) -> meltemi_proto::envoy::config::cluster::v3::CircuitBreakers {
    use meltemi_proto::envoy::config::cluster::v3::circuit_breakers::Thresholds;
    let value = |value: u32| Some(meltemi_proto::google::protobuf::UInt32Value { value });
    let thresholds = [(false, core::RoutingPriority::Default), (true, core::RoutingPriority::High)].map(
        |(high, priority)| {
            let breakers = cluster.breakers(high);
            Thresholds {
                priority: priority as i32,
                max_connections: value(breakers.connections.max()),
                max_pending_requests: value(breakers.pending.max()),
                max_requests: value(breakers.requests.max()),
                max_retries: value(breakers.retries.max()),
                ..Default::default()
            }
        },
    );
    meltemi_proto::envoy::config::cluster::v3::CircuitBreakers {
        thresholds: thresholds.to_vec(),
        ..Default::default()
    }
}

fn host_status(host: &Host) -> proto::HostStatus {
    use proto::simple_metric::Type;
    let state = &host.state;
    let metric = |name: &str, r#type: Type, value: u64| proto::SimpleMetric {
        r#type: r#type as i32,
        value,
        name: name.to_owned(),
    };
    let read = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
    proto::HostStatus {
        address: Some(address(&host.address)),
        stats: vec![
            metric("cx_active", Type::Gauge, u64::from(state.active_connections.load(Ordering::Relaxed))),
            metric("cx_connect_fail", Type::Counter, read(&state.connect_failures)),
            metric("cx_total", Type::Counter, read(&state.connections)),
            metric("rq_active", Type::Gauge, u64::from(state.active_requests.load(Ordering::Relaxed))),
            metric("rq_error", Type::Counter, read(&state.errors)),
            metric("rq_success", Type::Counter, read(&state.successes)),
            metric("rq_timeout", Type::Counter, 0),
            metric("rq_total", Type::Counter, read(&state.requests)),
        ],
        health_status: Some(proto::HostHealthStatus {
            eds_health_status: match host.health {
                Health::Healthy => core::HealthStatus::Healthy,
                Health::Degraded => core::HealthStatus::Degraded,
                Health::Unhealthy => core::HealthStatus::Unhealthy,
                Health::Draining => core::HealthStatus::Draining,
            } as i32,
            ..Default::default()
        }),
        weight: host.weight,
        hostname: host.hostname.to_string(),
        priority: host.priority,
        locality: Some(core::Locality {
            region: host.locality.region.clone(),
            zone: host.locality.zone.clone(),
            sub_zone: host.locality.sub_zone.clone(),
        }),
        ..Default::default()
    }
}

fn address(address: &Address) -> core::Address {
    use core::address::Address as Kind;
    let kind = match address {
        Address::Ip(addr) => Kind::SocketAddress(core::SocketAddress {
            address: addr.ip().to_string(),
            port_specifier: Some(PortSpecifier::PortValue(u32::from(addr.port()))),
            ..Default::default()
        }),
        Address::Pipe(path) => Kind::Pipe(core::Pipe { path: path.display().to_string(), mode: 0 }),
    };
    core::Address { address: Some(kind) }
}

impl ListenerSource for View {
    fn listeners(&self) -> Vec<proto::ListenerStatus> {
        let listeners = self.listeners.lock();
        listeners
            .iter()
            .map(|(name, addresses)| proto::ListenerStatus {
                name: name.to_string(),
                local_address: addresses.first().map(address),
                additional_local_addresses: addresses.iter().skip(1).map(address).collect(),
            })
            .collect()
    }

    fn drain(&self, graceful: bool, inbound_only: bool) {
        self.draining.store(true, Ordering::Relaxed);
        let _ = self.commands.send(Command::Drain { inbound_only, graceful, done: None });
    }
}

impl CertificateSource for View {
    fn certificates(&self) -> Vec<proto::Certificate> {
        let now = SystemTime::now();
        let secrets = self.secrets.all();
        let found = secrets.iter().filter_map(|slot| slot.get().map(|secret| (slot.name().clone(), secret)));
        found
            .map(|(name, secret)| match secret.as_ref() {
                Secret::Certificate(certificate) => proto::Certificate {
                    cert_chain: vec![certificate_details(&name, &certificate.info, now)],
                    ..Default::default()
                },
                Secret::Validation(validation) => proto::Certificate {
                    ca_cert: validation
                        .root_info
                        .iter()
                        .map(|i| certificate_details(&name, i, now))
                        .collect(),
                    ..Default::default()
                },
            })
            .collect()
    }
}

impl Lifecycle for View {
    fn state(&self) -> proto::server_info::State {
        use proto::server_info::State;
        if self.failing.load(Ordering::Relaxed) || self.draining.load(Ordering::Relaxed) {
            return State::Draining;
        }
        if *self.live.borrow() { State::Live } else { State::Initializing }
    }

    fn uptime(&self) -> Duration {
        self.start.elapsed()
    }

    fn concurrency(&self) -> u32 {
        self.concurrency
    }

    fn drain_time(&self) -> Duration {
        self.drain_time
    }

    fn set_healthy(&self, healthy: bool) {
        self.failing.store(!healthy, Ordering::Relaxed);
    }

    fn quit(&self) {
        let _ = self.commands.send(Command::Quit);
    }
}
