//! Types of everything users write: Istio's kinds, MeshConfig and the Kubernetes kinds that the mesh reads.
//!
//! One Rust type a kind is the only source: strict parsing, CRDs and validation are made from it.
//! Nothing in here looks at two objects at once; that is the work of the analyzers.

#[macro_use]
mod message;

pub mod any;
mod check;
pub mod crd;
pub mod diagnostic;
pub mod duration;
pub mod istio;
pub mod k8s;
pub mod kind;
pub mod mesh_config;
pub mod namespace;
pub mod object;
pub mod parse;
pub mod path;
pub mod render;
mod shape;
pub mod suggest;
pub mod tls_choice;
pub mod unsupported;
pub mod validate;
pub mod yaml;

pub use any::AnyObject;
pub use diagnostic::{Diagnostic, FieldError, Severity};
pub use duration::Duration;
pub use kind::Kind;
pub use object::{Meta, Object, Spec};
pub use parse::{parse, parse_lenient};
pub use path::Path;
pub use validate::validate;
