//! Everything the agent needs to know, worked out from arguments and environment. Pure.

mod address;
mod node;
mod proxy_config;

use std::path::PathBuf;
use std::time::Duration;

pub use address::{HostPort, HostPortError};
use meltemi_proto::node::{NodeId, NodeKind, NodeMetadata};
use meltemi_proto::ports;
pub use proxy_config::{GoDuration, ProxyConfig, ProxyConfigError};

use crate::cli::ProxyArgs;
use crate::environment::Environment;

/// Files and sockets, relative to the working directory of the container.
#[derive(Clone, Debug)]
pub struct Paths {
    /// Root that the control plane's certificate must chain to.
    pub root_cert: PathBuf,
    /// Service account token.
    pub token: PathBuf,
    /// Socket on which we serve secrets.
    pub sds: PathBuf,
    /// Socket on which we pass ADS on.
    pub xds: PathBuf,
    /// Where the bootstrap is written.
    pub config_dir: PathBuf,
    /// Where the last good configuration and the certificate are kept.
    pub last_good: PathBuf,
    /// Where the workload's certificates are written; they are kept in memory only if this is not set.
    pub output_certs: Option<PathBuf>,
    /// Where the bootstrap of the application's gRPC is written, if there is no proxy.
    pub grpc_bootstrap: PathBuf,
}

/// The agent's settings.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Who the proxy is.
    pub node: NodeId,
    /// `Node.cluster`.
    pub service_cluster: String,
    /// `Node.metadata`.
    pub metadata: NodeMetadata,
    /// Kubernetes service account.
    pub service_account: String,
    /// Trust domain of the mesh.
    pub trust_domain: String,
    /// The control plane.
    pub discovery: HostPort,
    /// The certificate authority.
    pub authority: HostPort,
    /// Name that the control plane's certificate must have.
    pub server_name: String,
    /// Life time to ask for.
    pub certificate_ttl: Duration,
    /// Effective `ProxyConfig`.
    pub proxy_config: ProxyConfig,
    /// Port of our HTTP server.
    pub status_port: u16,
    /// `ISTIO_KUBE_APP_PROBERS`, as JSON.
    pub probers: Option<String>,
    /// `ISTIO_PROMETHEUS_ANNOTATIONS`, as JSON.
    pub scrape: Option<String>,
    /// Application probes go to the loopback instead of the pod's address.
    pub probe_localhost: bool,
    /// Leave as soon as nothing is in flight.
    pub exit_on_zero: bool,
    /// With `exit_on_zero`: not before this.
    pub minimum_drain: Duration,
    /// Mark of our own sockets, where capture tells them by mark.
    pub bypass_mark: Option<u32>,
    /// Where captured look-ups arrive: a port of the loopback.
    pub dns_port: Option<u16>,
    /// Incremental xDS.
    pub delta: bool,
    /// Log levels of the proxy, as Envoy's flags have them.
    pub proxy_log_level: String,
    /// Files and sockets.
    pub paths: Paths,
}

/// Why the agent cannot start.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// A variable is missing.
    #[error("the environment variable {0} is not set; the injected pod template sets it")]
    Missing(&'static str),
    /// A variable makes no sense.
    #[error("{name}={value:?}: expected {expected}")]
    Value {
        /// Its name.
        name: &'static str,
        /// Its value.
        value: String,
        /// What is expected.
        expected: &'static str,
    },
    /// The proxy's configuration does not parse.
    #[error(transparent)]
    ProxyConfig(#[from] ProxyConfigError),
    /// An address does not parse.
    #[error("{0}: {1}")]
    Address(&'static str, HostPortError),
}

/// Life time of workload certificates unless `SECRET_TTL` says otherwise.
const DEFAULT_TTL: Duration = Duration::from_secs(24 * 3600);
/// Istio's default of `MINIMUM_DRAIN_DURATION`.
const DEFAULT_MINIMUM_DRAIN: Duration = Duration::from_secs(5);

impl Settings {
    /// Works the settings out.
    ///
    /// # Errors
    /// When something needed is missing or does not parse.
    pub fn new(args: &ProxyArgs, env: &Environment) -> Result<Self, SettingsError> {
        let proxy_config = ProxyConfig::effective(env)?;
        let node = node::node_id(args, env)?;
        let discovery = address("discoveryAddress", &proxy_config.discovery_address)?;
        let authority = match env.get("CA_ADDR") {
            Some(text) => address("CA_ADDR", text)?,
            None => discovery.clone(),
        };
        let service_account = env.get_or("SERVICE_ACCOUNT", "default").to_owned();
        Ok(Self {
            service_cluster: node::service_cluster(args, env, &node),
            metadata: node::metadata(env, &node, &proxy_config, &service_account),
            trust_domain: env.get_or("TRUST_DOMAIN", "cluster.local").to_owned(),
            server_name: env.get_or("ISTIOD_SAN", &discovery.host).to_owned(),
            certificate_ttl: duration(env, "SECRET_TTL", DEFAULT_TTL)?,
            status_port: proxy_config.status_port.filter(|port| *port > 0).unwrap_or(ports::AGENT),
            probers: env.get("ISTIO_KUBE_APP_PROBERS").map(str::to_owned),
            scrape: env.get("ISTIO_PROMETHEUS_ANNOTATIONS").map(str::to_owned),
            probe_localhost: env.flag("REWRITE_PROBE_LEGACY_LOCALHOST_DESTINATION").unwrap_or(false),
            exit_on_zero: env.flag("EXIT_ON_ZERO_ACTIVE_CONNECTIONS").unwrap_or(false),
            minimum_drain: duration(env, "MINIMUM_DRAIN_DURATION", DEFAULT_MINIMUM_DRAIN)?,
            bypass_mark: mark(env)?,
            dns_port: dns_port(args, env)?,
            delta: env.flag("ISTIO_DELTA_XDS").unwrap_or(true),
            proxy_log_level: log_level(args),
            paths: Paths::new(env, &proxy_config),
            node,
            service_account,
            discovery,
            authority,
            proxy_config,
        })
    }

    /// Is the application's gRPC its own proxy?
    pub fn proxyless(&self) -> bool {
        self.metadata.generator() == "grpc"
    }

    /// How long to go on serving after SIGTERM before the process leaves.
    pub fn termination_drain(&self) -> Duration {
        self.proxy_config.termination_drain_duration.as_ref().map_or(Duration::from_secs(5), |value| value.0)
    }

    /// The time in which Envoy spreads its closing of connections.
    pub fn drain_duration(&self) -> Duration {
        self.proxy_config.drain_duration.as_ref().map_or(Duration::from_secs(45), |value| value.0)
    }
}

impl Paths {
    fn new(env: &Environment, config: &ProxyConfig) -> Self {
        let provider = env.get_or("PILOT_CERT_PROVIDER", "istiod");
        let root_cert = match (env.get("CA_ROOT_CA"), provider) {
            (Some(path), _) => path,
            (None, "kubernetes") => "/var/run/secrets/kubernetes.io/serviceaccount/ca.crt",
            _ => "/var/run/secrets/istio/root-cert.pem",
        };
        let config_dir = PathBuf::from(config.config_path.as_deref().unwrap_or("./etc/istio/proxy"));
        Self {
            root_cert: root_cert.into(),
            token: "/var/run/secrets/tokens/istio-token".into(),
            sds: "./var/run/secrets/workload-spiffe-uds/socket".into(),
            xds: config_dir.join("XDS"),
            output_certs: env.get("OUTPUT_CERTS").map(PathBuf::from),
            grpc_bootstrap: env
                .get("GRPC_XDS_BOOTSTRAP")
                .map_or_else(|| config_dir.join("grpc-bootstrap.json"), PathBuf::from),
            config_dir,
            last_good: "/var/lib/istio/data/last-good".into(),
        }
    }
}

fn address(name: &'static str, text: &str) -> Result<HostPort, SettingsError> {
    text.parse().map_err(|error| SettingsError::Address(name, error))
}

fn duration(env: &Environment, name: &'static str, default: Duration) -> Result<Duration, SettingsError> {
    let Some(text) = env.get(name) else { return Ok(default) };
    let parsed = GoDuration::parse(text).map(|value| value.0);
    parsed.ok_or_else(|| SettingsError::Value {
        name,
        value: text.to_owned(),
        expected: "a duration such as 24h or 5s",
    })
}

fn mark(env: &Environment) -> Result<Option<u32>, SettingsError> {
    let name = "MELTEMI_BYPASS_MARK";
    let Some(text) = env.get(name) else { return Ok(None) };
    let parsed = text.parse().map(Some);
    parsed.map_err(|_| SettingsError::Value {
        name,
        value: text.to_owned(),
        expected: "a number such as 1337",
    })
}

/// Look-ups are captured in sidecars only: nothing else runs beside a gateway.
fn dns_port(args: &ProxyArgs, env: &Environment) -> Result<Option<u16>, SettingsError> {
    if args.role != NodeKind::Sidecar || env.flag("ISTIO_META_DNS_CAPTURE") != Some(true) {
        return Ok(None);
    }
    let address = env.get("DNS_PROXY_ADDR").map(|text| address("DNS_PROXY_ADDR", text)).transpose()?;
    Ok(Some(address.map_or(ports::DNS, |address| address.port)))
}

fn log_level(args: &ProxyArgs) -> String {
    [args.proxy_log_level.as_str(), args.proxy_component_log_level.as_str()]
        .into_iter()
        .filter(|part| !part.is_empty())
        .collect::<Vec<_>>()
        .join(",")
}

#[cfg(test)]
pub(crate) mod tests;
