//! `kube-inject`: the sidecar into manifests, by the same function as the webhook.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use meltemi_inject::Injector;
use serde_json::Value;

use super::install::{component, operator};
use crate::cli::Global;

/// Arguments of `kube-inject`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  meltemi kube-inject -f deployment.yaml | kubectl apply -f -\n  meltemi kube-inject -f deployment.yaml --profile demo          # without a cluster\n  meltemi kube-inject -f - --injectConfigFile config.yaml --meshConfigFile mesh.yaml --valuesFile values.json"
)]
pub struct Args {
    /// Manifest to inject into; `-` is standard input.
    #[arg(short = 'f', long = "filename", value_name = "FILE")]
    filename: PathBuf,
    /// Where to write; standard output where none is given.
    #[arg(short = 'o', long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Mesh configuration, instead of the cluster's.
    #[arg(long = "meshConfigFile", value_name = "FILE")]
    mesh_config_file: Option<PathBuf>,
    /// Injector configuration, instead of the cluster's.
    #[arg(long = "injectConfigFile", value_name = "FILE")]
    inject_config_file: Option<PathBuf>,
    /// Values of the injector, instead of the cluster's.
    #[arg(long = "valuesFile", value_name = "FILE")]
    values_file: Option<PathBuf>,
    /// Take all configuration from an installation profile, and ask no cluster.
    #[arg(long, conflicts_with_all = ["mesh_config_file", "inject_config_file", "values_file"])]
    profile: Option<String>,
    /// Revision whose configuration the cluster is asked for.
    #[arg(short = 'r', long)]
    revision: Option<String>,
}

/// Prints the manifest with sidecars.
///
/// # Errors
/// When a file or the cluster's configuration cannot be read, or a workload cannot be injected: which and why.
pub async fn run(args: &Args, global: &Global) -> anyhow::Result<ExitCode> {
    let manifest = read(&args.filename)?;
    let injector = injector(args, global).await?;
    let injected = meltemi_inject::kube_inject(&injector, global.namespace(), &manifest)
        .with_context(|| args.filename.display().to_string())?;
    match &args.output {
        Some(path) => {
            std::fs::write(path, injected).with_context(|| format!("cannot write {}", path.display()))?
        }
        None => std::io::stdout().write_all(injected.as_bytes())?,
    }
    Ok(ExitCode::SUCCESS)
}

fn read(path: &Path) -> anyhow::Result<String> {
    let mut text = String::new();
    if path == Path::new("-") {
        std::io::stdin().read_to_string(&mut text)?;
        return Ok(text);
    }
    std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

async fn injector(args: &Args, global: &Global) -> anyhow::Result<Injector> {
    if let Some(profile) = &args.profile {
        let request = operator::Request { sets: vec![format!("profile={profile}")], ..Default::default() };
        let rendered = component::render(&operator::Operator::load(&request)?)?;
        let objects: Vec<&Value> = rendered.iter().flat_map(|part| &part.objects).collect();
        let mesh = data(&objects, "istio")?;
        let injector = data(&objects, "istio-sidecar-injector")?;
        return Ok(Injector::from_config_maps(&injector, mesh.get("mesh").map(String::as_str))?);
    }
    let mut injector = BTreeMap::new();
    for (key, file) in [("config", &args.inject_config_file), ("values", &args.values_file)] {
        if let Some(path) = file {
            injector.insert(key.to_owned(), read(path)?);
        }
    }
    let mut mesh = args.mesh_config_file.as_deref().map(read).transpose()?;
    if args.inject_config_file.is_none() || args.mesh_config_file.is_none() || args.values_file.is_none() {
        let cluster = Cluster::of(args, global).await?;
        for (key, text) in cluster.data("istio-sidecar-injector").await? {
            injector.entry(key).or_insert(text);
        }
        if mesh.is_none() {
            mesh = cluster.data("istio").await?.remove("mesh");
        }
    }
    Ok(Injector::from_config_maps(&injector, mesh.as_deref())?)
}

/// The data of a rendered ConfigMap.
fn data(objects: &[&Value], name: &str) -> anyhow::Result<BTreeMap<String, String>> {
    let is_it = |object: &&&Value| object["kind"] == "ConfigMap" && object["metadata"]["name"] == name;
    match objects.iter().find(is_it) {
        Some(object) => Ok(serde_json::from_value(object["data"].clone())?),
        None => bail!(
            "the profile has no ConfigMap {name}; choose one with a control plane, such as default or demo"
        ),
    }
}

/// The cluster's ConfigMaps of one revision.
struct Cluster {
    maps: Api<ConfigMap>,
    suffix: String,
}

impl Cluster {
    async fn of(args: &Args, global: &Global) -> anyhow::Result<Self> {
        let client = global.client().await.context(
            "the injector's configuration comes from the cluster; without one, give --profile, or all of --injectConfigFile, --meshConfigFile and --valuesFile",
        )?;
        let revision = args.revision.as_deref().filter(|revision| *revision != "default");
        let suffix = revision.map(|revision| format!("-{revision}")).unwrap_or_default();
        Ok(Self { maps: Api::namespaced(client, &global.istio_namespace), suffix })
    }

    async fn data(&self, name: &str) -> anyhow::Result<BTreeMap<String, String>> {
        let name = format!("{name}{}", self.suffix);
        let map = self.maps.get_opt(&name).await?;
        let map = map.with_context(|| {
            format!("the cluster has no ConfigMap {name}: is the mesh installed, and the revision right?")
        })?;
        Ok(map.data.unwrap_or_default())
    }
}
