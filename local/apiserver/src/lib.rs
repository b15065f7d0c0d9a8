//! The subset of the Kubernetes API that the labs, kubectl and kube need, stored on disk.
//!
//! [`ApiServer::open`] loads a data directory; [`ApiServer::serve`] speaks HTTPS; [`ApiServer::local_service`] is the same
//! API for `kube` in this process. What the API server needs of a node is the [`kubelet::Kubelet`] trait.

pub mod admission;
pub mod api;
pub mod apply;
pub mod auth;
pub mod controllers;
pub mod crd;
pub mod defaults;
pub mod error;
pub mod kubelet;
pub mod kubernetes;
pub mod object;
pub mod openapi;
pub mod patch;
pub mod pki;
pub mod protobuf;
pub mod registry;
pub mod request;
pub mod schedule;
pub mod schema;
pub mod selector;
pub mod server;
pub mod services;
pub mod store;
pub mod strategy;
pub mod streaming;
pub mod table;
pub mod validation;

pub use server::{ApiServer, LocalService, Options};
