//! `proxy-config`: what a proxy was told, in tables that people can read.

mod clusters;
pub(super) mod dump;
mod endpoints;
pub(super) mod forward;
mod listeners;
mod log;
pub(super) mod origin;
pub(super) mod pod;
mod routes;
mod secrets;
pub(super) mod source;
pub(super) mod value;

#[cfg(test)]
mod tests;

use std::process::ExitCode;
use std::time::SystemTime;

use meltemi_proto::envoy::config::bootstrap::v3::Bootstrap;
use meltemi_proto::envoy::config::cluster::v3::Cluster;
use meltemi_proto::envoy::config::listener::v3::Listener;
use meltemi_proto::envoy::config::route::v3::RouteConfiguration;
use prost::{Message, Name};
use serde_json::{Value, json};

use crate::cli::Global;
use crate::render::table::Table;
use crate::render::{Format, emit};
use dump::Dump;
use source::{Choice, Source};
use value::text;

/// Arguments of `proxy-config`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  meltemi proxy-config clusters productpage-v1-6b7c.default --fqdn reviews\n  meltemi pc listeners deploy/reviews-v1 --port 9080\n  meltemi pc routes ingress.istio-system -o json\n  meltemi pc endpoints -f dump.json"
)]
pub struct Args {
    /// Part of the configuration.
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Everything: clusters, listeners, routes, endpoints and secrets.
    #[command(visible_alias = "a")]
    All(Common),
    /// The bootstrap that the proxy was started with.
    #[command(visible_alias = "b")]
    Bootstrap(Common),
    /// Clusters: the services that the proxy can send to.
    #[command(visible_aliases = ["clusters", "c"])]
    Cluster {
        #[command(flatten)]
        common: Common,
        #[command(flatten)]
        filter: clusters::Filter,
    },
    /// Endpoints: the addresses behind clusters.
    #[command(visible_aliases = ["endpoints", "ep"])]
    Endpoint {
        #[command(flatten)]
        common: Common,
        #[command(flatten)]
        filter: endpoints::Filter,
    },
    /// Listeners: the addresses on which the proxy takes connections.
    #[command(visible_aliases = ["listeners", "l"])]
    Listener {
        #[command(flatten)]
        common: Common,
        #[command(flatten)]
        filter: listeners::Filter,
    },
    /// Log levels of the proxy.
    #[command(visible_alias = "o")]
    Log {
        #[command(flatten)]
        choice: Choice,
        #[command(flatten)]
        levels: log::Levels,
    },
    /// Routes: which request goes where.
    #[command(visible_aliases = ["routes", "r"])]
    Route {
        #[command(flatten)]
        common: Common,
        #[command(flatten)]
        filter: routes::Filter,
    },
    /// Certificates and trusted roots.
    #[command(visible_aliases = ["secrets", "s"])]
    Secret(Common),
}

/// What all parts but `log` take.
#[derive(Debug, Clone, clap::Args)]
struct Common {
    #[command(flatten)]
    choice: Choice,
    /// How to print [default: short; bootstrap: json].
    #[arg(short, long, value_enum)]
    output: Option<Format>,
    /// Accepted for compatibility: tables always show all columns.
    #[arg(long, default_value_t = true, num_args = 0..=1, default_missing_value = "true", action = clap::ArgAction::Set, hide = true)]
    verbose: bool,
}

impl Common {
    async fn open(&self, global: &Global) -> anyhow::Result<Source> {
        self.choice.open(global).await
    }

    fn format(&self) -> Format {
        self.output.unwrap_or_default()
    }

    /// Prints a table for people or a value for programs.
    fn print(&self, table: impl FnOnce() -> Table, value: impl FnOnce() -> Value) {
        match self.format() {
            Format::Text => table().print(),
            format => emit(&(format.structured(&value()).unwrap_or_default() + "\n")),
        }
    }
}

/// Prints the part that was asked for.
pub async fn run(args: &Args, global: &Global) -> anyhow::Result<ExitCode> {
    match &args.what {
        What::All(common) => all(common, &common.open(global).await?).await?,
        What::Bootstrap(common) => bootstrap(common, &common.open(global).await?.dump(false).await?),
        What::Cluster { common, filter } => {
            let dump = common.open(global).await?.dump(false).await?;
            let found = filter.of(&dump);
            common.print(|| clusters::table(&found), || canonical::<Cluster>(&found));
        }
        What::Endpoint { common, filter } => {
            let found = filter.apply(common.open(global).await?.endpoints().await?);
            common.print(|| endpoints::table(&found), || endpoints::value(&found));
        }
        What::Listener { common, filter } => {
            let dump = common.open(global).await?.dump(false).await?;
            let found = filter.of(&dump);
            common.print(|| listeners::table(&found), || canonical::<Listener>(&found));
        }
        What::Log { choice, levels } => log::run(&choice.open(global).await?, levels).await?,
        What::Route { common, filter } => {
            let dump = common.open(global).await?.dump(false).await?;
            let found = filter.of(&dump);
            common.print(|| routes::table(&found), || canonical::<RouteConfiguration>(&found));
        }
        What::Secret(common) => {
            let dump = common.open(global).await?.dump(false).await?;
            let value = || json!({ "secrets": dump.secrets().into_iter().map(|(_, s)| s.clone()).collect::<Value>() });
            common.print(|| secrets::table(&dump, SystemTime::now()), value);
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn canonical<M: Message + Name + Default>(found: &[&Value]) -> Value {
    origin::canonical::<M>(found.iter().copied())
}

fn bootstrap(common: &Common, dump: &Dump) {
    let bootstrap = dump.bootstrap();
    if common.output == Some(Format::Text) {
        println!("Istio Version:       {}", text(bootstrap, "node.metadata.ISTIO_VERSION"));
        println!("Istio Proxy Version: {}", text(bootstrap, "node.metadata.ISTIO_PROXY_SHA"));
        println!("Node:                {}", text(bootstrap, "node.id"));
        return;
    }
    let one = canonical::<Bootstrap>(&[bootstrap]);
    let value = json!({ "bootstrap": one.get(0) });
    let format = common.output.unwrap_or(Format::Json);
    emit(&(format.structured(&value).unwrap_or_default() + "\n"));
}

async fn all(common: &Common, source: &Source) -> anyhow::Result<()> {
    let dump = source.dump(true).await?;
    if let Some(text) = common.format().structured(dump.value()) {
        emit(&(text + "\n"));
        return Ok(());
    }
    clusters::table(&clusters::Filter::default().of(&dump)).print();
    emit("\n");
    listeners::table(&listeners::Filter::default().of(&dump)).print();
    emit("\n");
    routes::table(&routes::Filter::default().of(&dump)).print();
    emit("\n");
    endpoints::table(&endpoints::Filter::default().apply(source.endpoints().await?)).print();
    emit("\n");
    secrets::table(&dump, SystemTime::now()).print();
    Ok(())
}
