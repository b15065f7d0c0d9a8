//! Istio's own telemetry: the standard metrics and the exchange of workload metadata between peers.

pub mod peer;
