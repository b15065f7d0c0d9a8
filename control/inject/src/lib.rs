//! Pod in, patched pod out: shared by the webhook, kube-inject and the local node.
//!
//! Everything here is a function of values. [`Injector`] holds the settings of one revision (the `istio-sidecar-injector`
//! and `istio` ConfigMaps); [`Injector::decide`] says whether a pod joins the mesh and why not, [`Injector::inject`] gives
//! the patched pod with its JSON patch, and [`kube_inject()`] does the same for whole manifests.

mod annotations;
mod config;
mod decide;
mod inject;
mod kube_inject;
mod overlay;
mod pod;
mod probes;
mod prometheus;
mod proxy_config;
mod template;
mod values;

pub use annotations::{AnnotationError, names};
pub use config::{ConfigError, InjectorConfig, LabelRequirement, LabelSelector, Operator, Policy};
pub use decide::{Decision, Reason};
pub use inject::{Context, InjectError, Injected, Injector, Outcome};
pub use kube_inject::{KubeInjectError, kube_inject};
pub use proxy_config::MeshSettings;
pub use values::{Global, Proxy, Values, WebhookValues};

#[cfg(test)]
mod tests;
