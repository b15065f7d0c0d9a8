//! The subset of the Kubernetes API that the labs, kubectl and kube need, stored on disk.

pub mod kubelet;
