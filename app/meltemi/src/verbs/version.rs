//! `version`: of this binary, and of what runs in the cluster.

use std::collections::BTreeMap;
use std::process::ExitCode;

use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, ListParams};
use meltemi_proto::version::{ISTIO_COMPAT, MELTEMI};
use serde::Serialize;

use crate::cli::Global;
use crate::render::Format;

/// The version of this build.
pub const SHORT: &str = env!("CARGO_PKG_VERSION");

/// Arguments of `version`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  meltemi version\n  meltemi version --remote=false\n  meltemi version -o json"
)]
pub struct Args {
    /// Print only the version numbers.
    #[arg(short, long)]
    short: bool,
    /// Ask the cluster too.
    #[arg(long, default_value_t = true, action = clap::ArgAction::Set, num_args = 0..=1, default_missing_value = "true")]
    remote: bool,
    /// How to print.
    #[arg(short, long, value_enum, default_value = "text")]
    output: Format,
}

/// All versions, as `-o json` prints them.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Versions {
    client_version: Version,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    mesh_version: Vec<Version>,
    /// Proxies by version.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    data_plane_version: BTreeMap<String, usize>,
}

#[derive(Debug, Default, Serialize)]
struct Version {
    /// The version of Istio whose names, fields and behaviour are kept.
    version: String,
    /// The version of Meltemi.
    #[serde(skip_serializing_if = "String::is_empty")]
    meltemi: String,
}

/// Prints the versions. A cluster that cannot be reached is said so, and is no failure.
pub async fn run(args: &Args, global: &Global) -> anyhow::Result<ExitCode> {
    let mut versions = Versions {
        client_version: Version { version: ISTIO_COMPAT.into(), meltemi: MELTEMI.into() },
        ..Versions::default()
    };
    let mut unreachable = None;
    if args.remote
        && let Err(error) = ask_cluster(global, &mut versions).await
    {
        unreachable = Some(error);
    }
    if let Some(text) = args.output.structured(&versions) {
        println!("{text}");
        return Ok(ExitCode::SUCCESS);
    }
    if !args.remote {
        println!("{ISTIO_COMPAT}");
        return Ok(ExitCode::SUCCESS);
    }
    println!(
        "client version: {ISTIO_COMPAT}{}",
        if args.short { String::new() } else { format!(" (meltemi {MELTEMI})") }
    );
    if let Some(error) = unreachable {
        eprintln!("no cluster was asked: {error:#}");
    }
    for version in &versions.mesh_version {
        println!("control plane version: {}", version.version);
    }
    for (version, count) in &versions.data_plane_version {
        println!("data plane version: {version} ({count} {})", if *count == 1 { "proxy" } else { "proxies" });
    }
    Ok(ExitCode::SUCCESS)
}

async fn ask_cluster(global: &Global, versions: &mut Versions) -> anyhow::Result<()> {
    let client = global.client().await?;
    let control: Api<Pod> = Api::namespaced(client.clone(), &global.istio_namespace);
    for pod in control.list(&ListParams::default().labels("app=istiod")).await? {
        let version = tag(&pod, "discovery").unwrap_or_else(|| "unknown".into());
        versions.mesh_version.push(Version { version, meltemi: String::new() });
    }
    let everywhere: Api<Pod> = Api::all(client);
    for pod in everywhere.list(&ListParams::default()).await? {
        if let Some(version) = tag(&pod, "istio-proxy") {
            *versions.data_plane_version.entry(version).or_default() += 1;
        }
    }
    Ok(())
}

/// The image tag of a pod's container, native sidecars included.
fn tag(pod: &Pod, container: &str) -> Option<String> {
    let spec = pod.spec.as_ref()?;
    let all = spec.containers.iter().chain(spec.init_containers.iter().flatten());
    let image = all.into_iter().find(|candidate| candidate.name == container)?.image.as_deref()?;
    Some(image.rsplit('/').next()?.split_once(':').map_or("latest", |(_, tag)| tag).to_owned())
}
