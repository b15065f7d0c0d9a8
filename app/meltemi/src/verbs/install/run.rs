//! The installation itself, for the verb and for the local cluster alike.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use anyhow::Context as _;
use kube::Client;
use serde_json::Value;

use super::cluster;
use super::component::{self, Component, Rendered};
use super::operator::Operator;

/// What happens, as it happens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Objects of a component are applied.
    Processing(Component),
    /// A component's Deployments start.
    Waiting(Component, Vec<String>),
    /// A component is ready.
    Installed(Component),
    /// A component failed.
    Failed(Component, String),
    /// An object of an earlier installation is gone.
    Removed(String),
    /// All is ready.
    Complete,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Step::Processing(component) => write!(f, "- Processing resources for {}.", component.title()),
            Step::Waiting(component, names) => {
                write!(
                    f,
                    "- Processing resources for {}. Waiting for {}",
                    component.title(),
                    names.join(", ")
                )
            }
            Step::Installed(component) => write!(f, "✔ {} installed {}", component.title(), component.icon()),
            Step::Failed(component, error) => {
                write!(f, "✘ {} encountered an error: {error}", component.title())
            }
            Step::Removed(object) => write!(f, "  Removed {object}."),
            Step::Complete => write!(f, "✔ Installation complete"),
        }
    }
}

impl Step {
    /// Whether the line stays on the screen; the others show what goes on.
    pub fn is_lasting(&self) -> bool {
        !matches!(self, Step::Processing(_) | Step::Waiting(..))
    }
}

/// How long each component may take to become ready, istioctl's default.
pub const READINESS_TIMEOUT: Duration = Duration::from_secs(300);

/// Installs what the operator asks for, and takes away what an earlier installation of the same revision had besides.
///
/// # Errors
/// At the first component that fails; what was applied before stays, and running it again goes on from there.
pub async fn install(
    client: &Client,
    operator: &Operator,
    patience: Duration,
    progress: &mut (dyn FnMut(Step) + Send),
) -> anyhow::Result<()> {
    let rendered = component::render(operator)?;
    for part in &rendered {
        progress(Step::Processing(part.component));
        if let Err(error) = apply(client, part).await {
            progress(Step::Failed(part.component, format!("{error:#}")));
            return Err(error.context(format!("failed to install {}", part.component.title())));
        }
        // Gateways do not wait for each other; whatever comes after istiod needs its webhook.
        if matches!(part.component, Component::Base | Component::Pilot) {
            ready(client, part, patience, progress).await?;
        }
    }
    for part in &rendered {
        if !matches!(part.component, Component::Base | Component::Pilot) {
            ready(client, part, patience, progress).await?;
        }
    }
    prune(client, operator, &rendered, progress).await?;
    progress(Step::Complete);
    Ok(())
}

async fn apply(client: &Client, part: &Rendered) -> anyhow::Result<()> {
    // The namespace is a template of the base chart, but nothing can be in it before it is there.
    let (namespaces, others): (Vec<&Value>, Vec<&Value>) =
        part.objects.iter().partition(|object| object["kind"] == "Namespace");
    for object in namespaces.into_iter().chain(others) {
        cluster::apply(client, object).await?;
    }
    Ok(())
}

async fn ready(
    client: &Client,
    part: &Rendered,
    patience: Duration,
    progress: &mut (dyn FnMut(Step) + Send),
) -> anyhow::Result<()> {
    let waited = wait(client, part, patience, progress).await;
    match waited {
        Ok(()) => {
            progress(Step::Installed(part.component));
            Ok(())
        }
        Err(error) => {
            progress(Step::Failed(part.component, format!("{error:#}")));
            Err(error.context(format!("failed to install {}", part.component.title())))
        }
    }
}

async fn wait(
    client: &Client,
    part: &Rendered,
    patience: Duration,
    progress: &mut (dyn FnMut(Step) + Send),
) -> anyhow::Result<()> {
    let named = |kind: &str| -> Vec<(String, String)> {
        let text = |object: &Value, pointer: &str| {
            object.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned()
        };
        let of_kind = part.objects.iter().filter(|object| object["kind"] == kind);
        of_kind.map(|object| (text(object, "/metadata/namespace"), text(object, "/metadata/name"))).collect()
    };
    for (_, name) in named("CustomResourceDefinition") {
        tokio::time::timeout(patience, cluster::established(client, &name))
            .await
            .with_context(|| format!("the API server does not serve {name}"))??;
    }
    let deployments = named("Deployment");
    if !deployments.is_empty() {
        let titles =
            deployments.iter().map(|(namespace, name)| format!("Deployment/{namespace}/{name}")).collect();
        progress(Step::Waiting(part.component, titles));
    }
    for (namespace, name) in deployments {
        cluster::rolled_out(client, &namespace, &name, patience).await?;
    }
    Ok(())
}

/// Removes objects that carry our labels and this revision, but that are no longer rendered.
async fn prune(
    client: &Client,
    operator: &Operator,
    rendered: &[Rendered],
    progress: &mut (dyn FnMut(Step) + Send),
) -> anyhow::Result<()> {
    let revision = if operator.revision().is_empty() { "default" } else { operator.revision() };
    let selector = format!("operator.istio.io/managed=Reconcile,istio.io/rev={revision}");
    let ours: BTreeSet<Component> = rendered.iter().map(|part| part.component).collect();
    // A file for gateways alone says nothing about istiod.
    if !ours.contains(&Component::Pilot) {
        return Ok(());
    }
    for object in cluster::installed(client, &selector).await? {
        let kept = rendered.iter().flat_map(|part| &part.objects).any(|wanted| object.is(wanted));
        if !kept {
            cluster::delete(client, &object).await?;
            progress(Step::Removed(object.title()));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
