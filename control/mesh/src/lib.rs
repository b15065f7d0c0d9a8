//! The mesh as the control plane knows it: [`World`] takes changes, [`Snapshot`] is the mesh at one moment,
//! [`ProxyView`] is what one proxy may know of it, [`impact`] says whom a change concerns.
//!
//! Nothing in here reads a clock, a socket or a random number: the same changes give the same snapshot.

pub mod change;
pub mod destination_rule;
pub mod endpoint;
pub mod export;
pub mod host;
pub mod impact;
pub mod labels;
pub mod peer_authentication;
pub mod protocol;
pub mod secret;
pub mod service;
pub mod settings;
pub mod shard;
pub mod snapshot;
pub mod status;
pub mod view;
pub mod virtual_service;
pub mod workload;
pub mod world;

pub use change::{Change, ChangeSet, Touched};
pub use endpoint::{Endpoint, Health, ServiceEndpoints};
pub use impact::impact;
pub use peer_authentication::MtlsMode;
pub use protocol::Protocol;
pub use service::{Port, Resolution, Service, ServiceKey, TargetPort};
pub use settings::Settings;
pub use snapshot::Snapshot;
pub use view::{ProxyIdentity, ProxyKind, ProxyView};
pub use virtual_service::VirtualService;
pub use workload::{Locality, Workload};
pub use world::World;
