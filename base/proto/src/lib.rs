//! Envoy v3 and Istio wire types, type URLs, proto-JSON, well-known ports and metadata keys.
//!
//! Envoy's messages come from `envoy-types` and are re-exported here under their proto package path, so the
//! rest of the house names one crate only. The well-known types of `google.protobuf` are those of
//! `envoy-types` too, never `prost_types`.

pub use envoy_types::pb::{cel, envoy, google, xds};

pub mod any;
pub mod istio;
pub mod json;
pub mod node;
pub mod ports;
pub mod structs;
pub mod type_url;
pub mod typed_struct;
pub mod version;
