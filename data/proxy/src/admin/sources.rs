//! What the admin interface needs of the engine. All calls come from the admin thread; none may block.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use meltemi_proto::envoy::admin::v3 as admin;
use meltemi_proto::envoy::config::bootstrap::v3::Bootstrap;
use meltemi_proto::google::protobuf::Any;

/// A resource as it stands in the engine.
#[derive(Clone, Debug)]
pub struct Resource {
    /// Its name; for endpoints the cluster's.
    pub name: Arc<str>,
    /// The message that was accepted last; `None` when none ever was.
    pub body: Option<Any>,
    /// The version it came with; empty for static ones.
    pub version: Arc<str>,
    /// When it was accepted.
    pub updated: SystemTime,
    /// Whether the bootstrap holds it.
    pub is_static: bool,
    /// Where it is in its life.
    pub phase: Phase,
    /// The last update that was rejected, when it was the latest one.
    pub failure: Option<Failure>,
}

/// Where a resource is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Waiting for what it depends on.
    Warming,
    /// In use.
    Active,
    /// Replaced or removed, finishing what it began.
    Draining,
}

/// An update that was rejected.
#[derive(Clone, Debug)]
pub struct Failure {
    /// Why.
    pub details: String,
    /// The version that was rejected.
    pub version: Arc<str>,
    /// When.
    pub attempt: SystemTime,
    /// The rejected message.
    pub body: Option<Any>,
}

/// The configuration in force.
pub trait ConfigSource: Send + Sync {
    /// The bootstrap, and when it was loaded.
    fn bootstrap(&self) -> (Bootstrap, SystemTime);
    /// All resources of a type (a type URL of [`meltemi_proto::type_url`]), static and dynamic.
    fn resources(&self, type_url: &str) -> Vec<Resource>;
    /// The version of the last accepted push of a type; empty when there was none or the protocol is incremental.
    fn version(&self, type_url: &str) -> String;
}

/// Clusters as they are now.
pub trait ClusterSource: Send + Sync {
    /// Every cluster with its hosts and their numbers (`cx_total`, `rq_error`, …), ordered by name.
    fn clusters(&self) -> Vec<admin::ClusterStatus>;
}

/// Listeners as they are now.
pub trait ListenerSource: Send + Sync {
    /// Every listener that is bound, ordered by name.
    fn listeners(&self) -> Vec<admin::ListenerStatus>;
    /// Stops accepting connections; `graceful` lets connections finish first.
    fn drain(&self, graceful: bool, inbound_only: bool);
}

/// Certificates in use.
pub trait CertificateSource: Send + Sync {
    /// Trusted roots and own chains by context; see [`certificate_details`](super::certificate_details).
    fn certificates(&self) -> Vec<admin::Certificate>;
}

/// The process.
pub trait Lifecycle: Send + Sync {
    /// Its state. `/ready` answers 200 only when it is [`Live`](admin::server_info::State::Live).
    fn state(&self) -> admin::server_info::State;
    /// How long it has been running.
    fn uptime(&self) -> Duration;
    /// Worker threads.
    fn concurrency(&self) -> u32;
    /// How long a drain takes.
    fn drain_time(&self) -> Duration;
    /// Makes health checks fail or succeed, as `/healthcheck/*` demands.
    fn set_healthy(&self, healthy: bool);
    /// Ends the process.
    fn quit(&self);
}
