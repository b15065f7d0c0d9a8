//! Types of everything users write: Istio's kinds, MeshConfig and the Kubernetes kinds that the mesh reads.
//!
//! One Rust type a kind is the only source: strict parsing, CRDs and validation are made from it.
//! Nothing in here looks at two objects at once; that is the work of the analyzers.

#[macro_use]
mod message;

pub mod any;
pub mod duration;
pub mod istio;
pub mod k8s;
pub mod kind;
pub mod mesh_config;
pub mod object;

pub use any::AnyObject;
pub use duration::Duration;
pub use kind::Kind;
pub use object::{Meta, Object, Spec};
