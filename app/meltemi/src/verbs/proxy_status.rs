//! `proxy-status`: whether every proxy has what the control plane last sent, and for one proxy what differs.

mod difference;
mod sync;

#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use kube::{Api, ResourceExt};
use serde_json::Value;

use super::proxy_config::dump::Dump;
use super::proxy_config::forward::Port;
use super::proxy_config::pod;
use super::proxy_config::source::Choice;
use crate::cli::Global;
use crate::render::{Format, emit};

/// Arguments of `proxy-status`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  meltemi proxy-status\n  meltemi proxy-status productpage-v1-6b7c.default\n  meltemi ps -o json\n\nThe exit code is 0 when every proxy is in sync, 2 when one is not."
)]
pub struct Args {
    /// Compare this proxy's configuration with the control plane's: `<pod>[.<namespace>]`.
    pod: Option<String>,
    /// With a pod: a config dump of it in a file, instead of asking it.
    #[arg(short, long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// How to print the list.
    #[arg(short, long, value_enum, default_value = "text")]
    output: Format,
    /// 1 or more: also say when each proxy connected.
    #[arg(short, long, default_value_t = 0, value_name = "N")]
    verbosity: u8,
    /// Only proxies of the control plane with this revision.
    #[arg(short, long, default_value = "", hide_default_value = true)]
    revision: String,
    /// Port of the proxy's admin interface.
    #[arg(long = "proxy-admin-port", default_value_t = meltemi_proto::ports::ADMIN, value_name = "PORT")]
    admin_port: u16,
}

/// A control plane's pod and its debug port.
struct Istiod {
    name: String,
    debug: Port,
}

/// Prints the list or the comparison.
pub async fn run(args: &Args, global: &Global) -> anyhow::Result<ExitCode> {
    let client = global.client().await?;
    let istiods = istiods(&client, global, &args.revision).await?;
    if args.pod.is_none() && args.file.is_none() {
        return list(args, &istiods).await;
    }
    let Some(text) = &args.pod else { bail!("--file needs the pod that the dump came from") };
    let found = pod::find(&client, global.namespace(), text).await?;
    pod::has_proxy(&found)?;
    let id = format!("{}.{}", found.name_any(), found.namespace().unwrap_or_default());
    let choice = match &args.file {
        Some(file) => Choice { pod: None, file: Some(file.clone()), admin_port: args.admin_port },
        None => Choice { pod: Some(id.clone()), file: None, admin_port: args.admin_port },
    };
    let actual = choice.open(global).await?.dump(false).await?;
    let expected = expected(&istiods, &id).await?;
    let differences = difference::report(&expected, &actual);
    emit(&differences.text);
    Ok(ExitCode::from(if differences.none { 0 } else { 2 }))
}

async fn istiods(client: &kube::Client, global: &Global, revision: &str) -> anyhow::Result<Vec<Istiod>> {
    let namespace = &global.istio_namespace;
    let mut selector = "app=istiod".to_owned();
    if !revision.is_empty() {
        selector.push_str(&format!(",istio.io/rev={revision}"));
    }
    let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let all = pods.list(&ListParams::default().labels(&selector)).await?.items;
    let running = all.iter().filter(|pod| {
        pod.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Running")
            && pod.metadata.deletion_timestamp.is_none()
    });
    let found: Vec<Istiod> = running
        .map(|pod| {
            let name = pod.name_any();
            Istiod { debug: Port::new(client, namespace, &name, meltemi_proto::ports::MONITORING), name }
        })
        .collect();
    if found.is_empty() {
        bail!(
            "no control plane runs in namespace {namespace:?} (no running pod with {selector}); \
             install one with `meltemi install`, or name its namespace with -i"
        );
    }
    Ok(found)
}

async fn list(args: &Args, istiods: &[Istiod]) -> anyhow::Result<ExitCode> {
    let mut proxies = Vec::new();
    for istiod in istiods {
        let text = istiod.debug.get("/debug/syncz").await?;
        let value: Value =
            serde_json::from_str(&text).with_context(|| format!("/debug/syncz of {}", istiod.name))?;
        proxies.extend(sync::read(&value, &istiod.name));
    }
    proxies.sort_by(|a, b| a.name.cmp(&b.name));
    match args.output {
        Format::Text if proxies.is_empty() => println!(
            "No proxy is connected to {}.",
            istiods.iter().map(|i| i.name.as_str()).collect::<Vec<_>>().join(", ")
        ),
        Format::Text => {
            sync::table(&proxies, args.verbosity > 0).print();
            emit(&sync::refusals(&proxies));
        }
        format => emit(&(format.structured(&sync::value(&proxies)).unwrap_or_default() + "\n")),
    }
    let good = proxies.iter().all(sync::Proxy::in_sync);
    Ok(ExitCode::from(if good { 0 } else { 2 }))
}

/// What the control plane would send to the proxy, from whichever pod it is connected to.
async fn expected(istiods: &[Istiod], id: &str) -> anyhow::Result<Dump> {
    let mut last = None;
    for istiod in istiods {
        match istiod.debug.get(&format!("/debug/config_dump?proxyID={id}")).await {
            Ok(text) => return Dump::parse(&text).with_context(|| format!("config dump of {}", istiod.name)),
            Err(error) => last = Some(error),
        }
    }
    let error = last.unwrap_or_else(|| anyhow::anyhow!("there is no control plane"));
    Err(error.context(format!(
        "proxy {id} is not connected to the control plane; its log says why: kubectl logs {} -c istio-proxy",
        id.split('.').next().unwrap_or(id)
    )))
}
