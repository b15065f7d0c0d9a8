//! What a template adds to a pod.

mod container;
mod env;
mod gateway;
mod grpc_agent;
mod init;
mod probe;
mod resources;
mod sidecar;
mod volumes;

use serde_json::Value;

use crate::inject::{Context, InjectError, Injector};
use crate::overlay::overlay;
use crate::pod::{PROXY_CONTAINER, PodRef, Workload, name};
use crate::proxy_config::ProxyConfig;

/// The template for applications whose gRPC is their own proxy.
pub(crate) const GRPC_AGENT: &str = "grpc-agent";

/// All that the built-in templates look at.
pub(crate) struct Frame<'a> {
    pub(crate) pod: PodRef<'a>,
    pub(crate) injector: &'a Injector,
    pub(crate) context: &'a Context,
    pub(crate) config: ProxyConfig,
    pub(crate) workload: Workload,
    pub(crate) native: bool,
}

impl Frame<'_> {
    /// An annotation's value, else the installation's.
    pub(crate) fn setting<'s>(&'s self, annotation: &str, default: &'s str) -> &'s str {
        self.pod.annotation(annotation).unwrap_or(default)
    }

    pub(crate) fn status_port(&self) -> u16 {
        self.config.status_port(self.pod, self.injector.values.global.proxy.status_port)
    }

    /// Whether the application must wait for the proxy by means of a hook.
    pub(crate) fn hold_application(&self) -> bool {
        let values = self.injector.values.global.proxy.hold_application_until_proxy_starts;
        !self.native && self.config.flag("holdApplicationUntilProxyStarts").unwrap_or(values)
    }

    pub(crate) fn app_containers(&self) -> impl Iterator<Item = &Value> {
        self.pod.containers("containers").iter().filter(|container| name(container) != PROXY_CONTAINER)
    }
}

/// What the named templates add, laid over each other in order.
pub(crate) fn render(frame: &Frame<'_>, templates: &[String]) -> Result<Value, InjectError> {
    let mut addition = Value::Object(serde_json::Map::new());
    for template in templates {
        let part = match template.as_str() {
            "sidecar" => sidecar::render(frame),
            "gateway" => gateway::render(frame),
            GRPC_AGENT => grpc_agent::render(frame),
            custom => render_custom(frame.injector, custom)?,
        };
        overlay(&mut addition, &part);
    }
    Ok(addition)
}

/// A user's template is YAML laid over the pod. Template actions would need Go's engine, which we do not have.
fn render_custom(injector: &Injector, template: &str) -> Result<Value, InjectError> {
    let fault = |message: String| InjectError::Template { template: template.to_owned(), message };
    let Some(text) = injector.config.templates.get(template) else {
        let mut known = vec!["sidecar", "gateway", GRPC_AGENT];
        known.extend(injector.config.templates.keys().map(String::as_str));
        return Err(fault(format!("no such template; there are {}", known.join(", "))));
    };
    if text.contains("{{") {
        return Err(fault("template actions ({{ … }}) are not supported: write plain YAML".to_owned()));
    }
    match yaml_serde::from_str(text).map_err(|error| fault(error.to_string()))? {
        Value::Null => Ok(Value::Object(serde_json::Map::new())),
        value @ Value::Object(_) => Ok(value),
        _ => Err(fault("expected a mapping with `metadata` and `spec`".to_owned())),
    }
}
