//! Where a proxy's configuration is read from: a pod's admin interface, or a file.

use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use kube::ResourceExt;
use serde_json::Value;

use super::dump::Dump;
use super::forward::Port;
use super::{endpoints, pod};
use crate::cli::Global;

/// Which proxy, and how to reach it.
#[derive(Debug, Clone, clap::Args)]
pub struct Choice {
    /// `<pod>[.<namespace>]`, `deployment/<name>` or `service/<name>`.
    pub pod: Option<String>,
    /// Read a config dump from this file instead ("-": standard input).
    #[arg(short, long, value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// Port of the proxy's admin interface.
    #[arg(long = "proxy-admin-port", default_value_t = meltemi_proto::ports::ADMIN, value_name = "PORT")]
    pub admin_port: u16,
}

/// The source that was chosen.
pub enum Source {
    /// A file's text and its name.
    File(String, String),
    /// A pod's admin interface, and the pod's name with namespace.
    Pod(Port, String),
}

impl Choice {
    /// Opens the source.
    ///
    /// # Errors
    /// When neither or both are given, or the file or pod cannot be found.
    pub async fn open(&self, global: &Global) -> anyhow::Result<Source> {
        match (&self.pod, &self.file) {
            (None, None) => {
                bail!("which proxy? Give a pod (<pod>[.<namespace>]) or a config dump with --file")
            }
            (Some(_), Some(_)) => bail!("give a pod or --file, not both"),
            (None, Some(file)) => Ok(Source::File(read(file)?, file.display().to_string())),
            (Some(text), None) => {
                let client = global.client().await?;
                let found = pod::find(&client, global.namespace(), text).await?;
                pod::has_proxy(&found)?;
                let (name, namespace) = (found.name_any(), found.namespace().unwrap_or_default());
                let port = Port::new(&client, &namespace, &name, self.admin_port);
                Ok(Source::Pod(port, format!("{name}.{namespace}")))
            }
        }
    }
}

fn read(file: &Path) -> anyhow::Result<String> {
    let mut text = String::new();
    match file.to_str() {
        Some("-") => std::io::stdin().read_to_string(&mut text).map(|_| ()),
        _ => std::fs::read_to_string(file).map(|all| text = all),
    }
    .with_context(|| format!("cannot read {}", file.display()))?;
    Ok(text)
}

impl Source {
    /// The config dump; `endpoints` asks for endpoints too.
    ///
    /// # Errors
    /// When it cannot be read or is no dump.
    pub async fn dump(&self, endpoints: bool) -> anyhow::Result<Dump> {
        match self {
            Source::File(text, name) => Dump::parse(text).with_context(|| name.clone()),
            Source::Pod(port, name) => {
                let path = if endpoints { "/config_dump?include_eds" } else { "/config_dump" };
                Dump::parse(&port.get(path).await?).with_context(|| name.clone())
            }
        }
    }

    /// All endpoints: as the proxy sees them, or as a dump or a saved `/clusters?format=json` holds them.
    ///
    /// # Errors
    /// When they cannot be read.
    pub async fn endpoints(&self) -> anyhow::Result<Vec<endpoints::Endpoint>> {
        let text = match self {
            Source::File(text, _) => text.clone(),
            Source::Pod(port, _) => port.get("/clusters?format=json").await?,
        };
        let value: Value = serde_json::from_str(&text).context("not JSON")?;
        if value.get("cluster_statuses").is_some() {
            return Ok(endpoints::of_clusters(&value));
        }
        Ok(endpoints::of_dump(&self.dump(true).await?))
    }

    /// The admin interface.
    ///
    /// # Errors
    /// When the source is a file.
    pub fn admin(&self) -> anyhow::Result<&Port> {
        match self {
            Source::Pod(port, _) => Ok(port),
            Source::File(..) => bail!("a file has no admin interface; give a pod"),
        }
    }

    /// Its name for people.
    pub fn name(&self) -> &str {
        match self {
            Source::File(_, name) | Source::Pod(_, name) => name,
        }
    }
}
