//! The Kubernetes kinds that the mesh reads, as `k8s-openapi` types them.

pub use k8s_openapi::api::admissionregistration::v1::{
    MutatingWebhookConfiguration, ValidatingWebhookConfiguration,
};
pub use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, ReplicaSet, StatefulSet};
pub use k8s_openapi::api::core::v1::{
    ConfigMap, Container, ContainerPort, Endpoints, Namespace, Node, Pod, PodSpec, PodTemplateSpec, Probe,
    Secret, Service, ServiceAccount, ServicePort, ServiceSpec,
};
pub use k8s_openapi::api::discovery::v1::{Endpoint, EndpointConditions, EndpointPort, EndpointSlice};
pub use k8s_openapi::apimachinery::pkg::apis::meta::v1::{
    LabelSelector, LabelSelectorRequirement, ObjectMeta, Time,
};
pub use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
