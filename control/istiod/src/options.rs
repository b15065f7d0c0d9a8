//! Command line and environment of `pilot-discovery discovery`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use clap::builder::BoolishValueParser;
use meltemi_proto::ports;

/// Flags of `discovery`, under Istio's names.
#[derive(Debug, Clone, Args)]
pub struct Options {
    /// Address of metrics, /version and /debug (`:15014` is every address)
    #[arg(long = "monitoringAddr", default_value = ":15014", value_parser = address)]
    pub monitoring_addr: SocketAddr,
    /// Address of /ready and /debug
    #[arg(long = "httpAddr", default_value = ":8080", value_parser = address)]
    pub http_addr: SocketAddr,
    /// Address of the webhooks
    #[arg(long = "httpsAddr", default_value = ":15017", value_parser = address)]
    pub https_addr: SocketAddr,
    /// Address of ADS in plain text; only the loopback is served, whatever the host part
    #[arg(long = "grpcAddr", default_value = ":15010", value_parser = address)]
    pub grpc_addr: SocketAddr,
    /// Address of ADS and the certificate authority over TLS
    #[arg(long = "secureGRPCAddr", default_value = ":15012", value_parser = address)]
    pub secure_grpc_addr: SocketAddr,
    /// DNS suffix of Kubernetes services
    #[arg(long, default_value = "cluster.local")]
    pub domain: String,
    /// Name of this cluster
    #[arg(long = "clusterID", env = "CLUSTER_ID", default_value = "Kubernetes")]
    pub cluster_id: String,
    /// Namespace of the control plane
    #[arg(long, short = 'n', env = "POD_NAMESPACE", default_value = "istio-system")]
    pub namespace: String,
    /// Revision of this control plane
    #[arg(long, env = "REVISION", default_value = "default")]
    pub revision: String,
    /// Kubeconfig file; inside a cluster none is needed
    #[arg(long)]
    pub kubeconfig: Option<PathBuf>,
    /// After this time a proxy's connection is closed, so that proxies spread over istiods
    #[arg(long = "keepaliveMaxServerConnectionAge", default_value = "30m", value_parser = duration)]
    pub max_connection_age: Duration,
    /// How long a change waits for others that come with it
    #[arg(long = "debounceAfter", env = "PILOT_DEBOUNCE_AFTER", default_value = "100ms", value_parser = duration, hide = true)]
    pub debounce_after: Duration,
    /// The longest that a change waits
    #[arg(long = "debounceMax", env = "PILOT_DEBOUNCE_MAX", default_value = "10s", value_parser = duration, hide = true)]
    pub debounce_max: Duration,
    /// Trust domain where the mesh configuration names none
    #[arg(long = "trustDomain", env = "PILOT_TRUST_DOMAIN", default_value = "cluster.local", hide = true)]
    pub trust_domain: String,
    /// Life time of workload certificates
    #[arg(long = "workloadCertTTL", env = "DEFAULT_WORKLOAD_CERT_TTL", default_value = "24h", value_parser = duration, hide = true)]
    pub workload_cert_ttl: Duration,
    /// The longest life time that a workload may ask for
    #[arg(long = "maxWorkloadCertTTL", env = "MAX_WORKLOAD_CERT_TTL", default_value = "2160h", value_parser = duration, hide = true)]
    pub max_workload_cert_ttl: Duration,
    /// Life time of the root that istiod makes for itself
    #[arg(long = "selfSignedCACertTTL", env = "CITADEL_SELF_SIGNED_CA_CERT_TTL", default_value = "87600h", value_parser = duration, hide = true)]
    pub root_cert_ttl: Duration,
    /// Whether pods get native sidecars unless they say otherwise
    #[arg(long = "nativeSidecars", env = "ENABLE_NATIVE_SIDECARS", default_value_t = true, action = clap::ArgAction::Set, hide = true)]
    pub native_sidecars: bool,
    /// Whether proxies take HTTP/1.0
    #[arg(long = "http10", env = "PILOT_HTTP10", default_value_t = false, action = clap::ArgAction::Set, value_parser = BoolishValueParser::new(), hide = true)]
    pub http10: bool,
    /// Name of the MutatingWebhookConfiguration to keep
    #[arg(
        long = "injectionWebhookConfigName",
        env = "INJECTION_WEBHOOK_CONFIG_NAME",
        default_value = "istio-sidecar-injector",
        hide = true
    )]
    pub injection_webhook: String,
    /// Name of the ValidatingWebhookConfiguration to keep
    #[arg(
        long = "validationWebhookConfigName",
        env = "VALIDATION_WEBHOOK_CONFIG_NAME",
        default_value = "istio-validator-istio-system",
        hide = true
    )]
    pub validation_webhook: String,
    /// Log levels, `scope:level` joined by commas
    #[arg(long = "log_output_level", default_value = "default:info")]
    pub log_output_level: String,
    /// Log lines as JSON
    #[arg(long = "log_as_json")]
    pub log_as_json: bool,
}

impl Default for Options {
    fn default() -> Self {
        let any = |port| SocketAddr::from((Ipv6Addr::UNSPECIFIED, port));
        Self {
            monitoring_addr: any(ports::MONITORING),
            http_addr: any(ports::DEBUG_HTTP),
            https_addr: any(ports::WEBHOOK),
            grpc_addr: SocketAddr::from((Ipv4Addr::LOCALHOST, ports::XDS_PLAIN)),
            secure_grpc_addr: any(ports::XDS_TLS),
            domain: "cluster.local".to_owned(),
            cluster_id: "Kubernetes".to_owned(),
            namespace: "istio-system".to_owned(),
            revision: "default".to_owned(),
            kubeconfig: None,
            max_connection_age: Duration::from_secs(30 * 60),
            debounce_after: Duration::from_millis(100),
            debounce_max: Duration::from_secs(10),
            trust_domain: "cluster.local".to_owned(),
            workload_cert_ttl: Duration::from_secs(24 * 3600),
            max_workload_cert_ttl: Duration::from_secs(90 * 24 * 3600),
            root_cert_ttl: Duration::from_secs(3650 * 24 * 3600),
            native_sidecars: true,
            http10: false,
            injection_webhook: "istio-sidecar-injector".to_owned(),
            validation_webhook: "istio-validator-istio-system".to_owned(),
            log_output_level: "default:info".to_owned(),
            log_as_json: false,
        }
    }
}

impl Options {
    /// `istio`, or `istio-REVISION`: the ConfigMap with the mesh configuration.
    pub fn mesh_config_map(&self) -> String {
        self.revised("istio")
    }

    /// `istio-sidecar-injector`, or with the revision: the injector's ConfigMap.
    pub fn injector_config_map(&self) -> String {
        self.revised("istio-sidecar-injector")
    }

    /// Names under which this istiod is reached.
    pub fn serving_names(&self) -> Vec<String> {
        let mut services = vec![self.revised("istiod"), "istiod".to_owned()];
        if self.revision == "default" {
            services.push("istio-pilot".to_owned());
        }
        services.dedup();
        let mut names = vec!["localhost".to_owned()];
        for service in services {
            let short = format!("{service}.{}", self.namespace);
            names.push(format!("{short}.svc.{}", self.domain));
            names.push(format!("{short}.svc"));
            names.push(short);
        }
        names
    }

    /// The address of plain-text ADS: whatever was asked for, nobody but this machine may come without TLS.
    pub fn plain_grpc_addr(&self) -> SocketAddr {
        let loopback: IpAddr = match self.grpc_addr.ip() {
            ip if ip.is_loopback() => ip,
            _ => Ipv4Addr::LOCALHOST.into(),
        };
        SocketAddr::new(loopback, self.grpc_addr.port())
    }

    fn revised(&self, name: &str) -> String {
        if matches!(self.revision.as_str(), "" | "default") {
            name.to_owned()
        } else {
            format!("{name}-{}", self.revision)
        }
    }
}

/// `:15010`, `127.0.0.1:15010`, `[::1]:15010`.
fn address(text: &str) -> Result<SocketAddr, String> {
    let whole =
        if text.starts_with(':') { format!("[::]{text}") } else { text.replace("localhost:", "127.0.0.1:") };
    whole.parse().map_err(|_| format!("`{text}` is not an address: expected `:PORT` or `IP:PORT`"))
}

fn duration(text: &str) -> Result<Duration, String> {
    let parsed: meltemi_config::Duration = text
        .parse()
        .map_err(|error| format!("`{text}` is not a duration like `100ms` or `1h30m`: {error}"))?;
    Ok(parsed.to_std())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        options: Options,
    }

    #[test]
    fn defaults_are_the_flags_defaults() {
        let parsed = Cli::parse_from(["discovery"]).options;
        assert_eq!(parsed.secure_grpc_addr, Options::default().secure_grpc_addr);
        assert_eq!(
            (parsed.debounce_after, parsed.debounce_max),
            (Duration::from_millis(100), Duration::from_secs(10))
        );
        assert_eq!(parsed.plain_grpc_addr(), "127.0.0.1:15010".parse().unwrap());
    }

    #[test]
    fn istios_flags_are_known() {
        let flags = [
            "discovery",
            "--monitoringAddr=:15014",
            "--httpsAddr",
            "127.0.0.1:1",
            "--clusterID=c1",
            "--keepaliveMaxServerConnectionAge",
            "30m",
            "--log_output_level=default:info",
            "--domain",
            "cluster.local",
            "--http10=1",
        ];
        let parsed = Cli::parse_from(flags).options;
        assert_eq!((parsed.cluster_id.as_str(), parsed.https_addr.port(), parsed.http10), ("c1", 1, true));
        let error = Cli::try_parse_from(["discovery", "--httpAddr=nonsense"]).err().unwrap().to_string();
        assert!(error.contains("expected `:PORT`"), "{error}");
    }

    #[test]
    fn a_revision_has_its_own_names() {
        let options = Options { revision: "canary".to_owned(), ..Options::default() };
        assert_eq!(options.mesh_config_map(), "istio-canary");
        assert!(options.serving_names().contains(&"istiod-canary.istio-system.svc".to_owned()));
    }
}
