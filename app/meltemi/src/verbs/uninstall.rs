//! `uninstall`: takes a revision, or everything, out of a cluster.

use std::process::ExitCode;

use anyhow::bail;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, ListParams};
use kube::{Client, ResourceExt as _};

use super::install::cluster::{self, Installed};
use super::install::{What, confirm};
use crate::cli::Global;

/// Arguments of `uninstall`.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:\n  meltemi uninstall --purge -y\n  meltemi uninstall --revision canary")]
pub struct Args {
    /// Everything, of all revisions, with the CRDs and so with every object of Istio's kinds.
    #[arg(long)]
    pub purge: bool,
    /// The revision, or the file and flags of the installation, that goes.
    #[command(flatten)]
    pub what: What,
    /// Do not ask.
    #[arg(short = 'y', long)]
    pub skip_confirmation: bool,
    /// Show what would be removed, and change nothing.
    #[arg(long)]
    pub dry_run: bool,
}

impl Args {
    /// The revision that goes; `None` for all.
    fn revision(&self) -> anyhow::Result<Option<String>> {
        if self.purge {
            return Ok(None);
        }
        if self.what.revision.is_none() && self.what.files.is_empty() && self.what.sets.is_empty() {
            bail!("at least one of the --revision, --filename or --purge flags must be set");
        }
        let operator = self.what.operator()?;
        Ok(Some(if operator.revision().is_empty() {
            "default".to_owned()
        } else {
            operator.revision().to_owned()
        }))
    }
}

/// Uninstalls.
///
/// # Errors
/// When nothing says what is meant, or the cluster refuses.
pub async fn run(args: &Args, global: &Global) -> anyhow::Result<ExitCode> {
    let revision = args.revision()?;
    let client = global.client().await?;
    let objects = find(&client, revision.as_deref()).await?;
    if objects.is_empty() {
        match &revision {
            Some(revision) => bail!("no Istio resources of revision {revision:?} were found in this cluster"),
            None => bail!("no Istio resources were found in this cluster"),
        }
    }
    match &revision {
        None => println!("All Istio resources will be pruned from the cluster"),
        Some(revision) => {
            println!("Istio resources of revision {revision:?} will be pruned from the cluster")
        }
    }
    warn(&client, global, revision.as_deref()).await;
    if args.dry_run {
        objects.iter().for_each(|object| println!("  Would remove {}.", object.title()));
        return Ok(ExitCode::SUCCESS);
    }
    if !args.skip_confirmation && !confirm("Proceed? (y/N) ")? {
        println!("Cancelled.");
        return Ok(ExitCode::FAILURE);
    }
    for object in &objects {
        cluster::delete(&client, object).await?;
        println!("  Removed {}.", object.title());
    }
    println!("✔ Uninstall complete");
    Ok(ExitCode::SUCCESS)
}

/// What goes. CRDs go only with everything: another revision may need them.
async fn find(client: &Client, revision: Option<&str>) -> anyhow::Result<Vec<Installed>> {
    let mut selector = "operator.istio.io/component".to_owned();
    if let Some(revision) = revision {
        selector.push_str(&format!(",istio.io/rev={revision}"));
    }
    let objects = cluster::installed(client, &selector).await?;
    Ok(objects.into_iter().filter(|object| revision.is_none() || !object.is_crd()).collect())
}

/// Names who will be left without a control plane. Only a courtesy: what cannot be asked is not told.
async fn warn(client: &Client, global: &Global, revision: Option<&str>) {
    let pods: Api<Pod> = Api::all(client.clone());
    let list = pods.list(&ListParams::default()).await.map(|list| list.items).unwrap_or_default();
    let proxies: Vec<String> = list
        .iter()
        .filter(|pod| pod.namespace().as_deref() != Some(&global.istio_namespace) && has_proxy(pod, revision))
        .map(|pod| format!("{}.{}", pod.name_any(), pod.namespace().unwrap_or_default()))
        .collect();
    if !proxies.is_empty() {
        println!(
            "There are still {} proxies pointing to the control plane revision {}:\n  {}\n\
             If you proceed with the uninstall, these proxies will become detached from any control plane and will not function correctly.",
            proxies.len(),
            revision.unwrap_or("default"),
            proxies.join("\n  ")
        );
    }
}

fn has_proxy(pod: &Pod, revision: Option<&str>) -> bool {
    let Some(spec) = &pod.spec else { return false };
    let containers = spec.containers.iter().chain(spec.init_containers.iter().flatten());
    let injected = containers.into_iter().any(|container| container.name == "istio-proxy");
    let of = pod.annotations().get("istio.io/rev").map_or("default", String::as_str);
    injected && revision.is_none_or(|revision| revision == of)
}
