//! The command line of `pilot-agent`.

use clap::{Args, Parser, Subcommand};
use meltemi_proto::node::NodeKind;

use crate::capture::CaptureArgs;

/// The proxy's agent: it gives the proxy its identity and configuration, answers the kubelet and Prometheus,
/// and sets up traffic capture.
#[derive(Debug, Parser)]
#[command(name = "pilot-agent", disable_version_flag = true, args_override_self = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
#[allow(clippy::large_enum_variant)]
pub enum Command {
    /// Run the proxy with its agent
    Proxy(ProxyArgs),
    /// Set up traffic capture in this network namespace
    IstioIptables(CaptureCommand),
    /// Send a request to the proxy's admin interface
    Request(RequestArgs),
    /// Wait until the proxy is ready
    Wait(WaitArgs),
    /// Print the version
    Version(VersionArgs),
}

/// Logging, as Istio's flags have it.
#[derive(Clone, Debug, Default, Args)]
pub struct LogArgs {
    /// Levels by scope: default:info,xds:debug
    #[arg(long = "log_output_level", alias = "log-output-level", default_value = "")]
    pub output_level: String,
    /// Log JSON
    #[arg(long = "log_as_json", alias = "log-as-json")]
    pub as_json: bool,
    /// Where to log to (standard output is always used)
    #[arg(long = "log_target", alias = "log-target", hide = true)]
    pub target: Vec<String>,
    /// Levels at which callers are logged
    #[arg(long = "log_caller", alias = "log-caller", hide = true, default_value = "")]
    pub caller: String,
    /// Levels at which stack traces are logged
    #[arg(long = "log_stacktrace_level", alias = "log-stacktrace-level", hide = true, default_value = "")]
    pub stacktrace_level: String,
}

/// `proxy`.
#[derive(Clone, Debug, Args)]
pub struct ProxyArgs {
    /// sidecar or router
    #[arg(value_parser = role, default_value = "sidecar")]
    pub role: NodeKind,
    /// DNS suffix of the pod's namespace
    #[arg(long, default_value = "")]
    pub domain: String,
    /// Log level of the proxy
    #[arg(long = "proxyLogLevel", default_value = "warning,misc:error")]
    pub proxy_log_level: String,
    /// Log levels of the proxy's parts
    #[arg(long = "proxyComponentLogLevel", default_value = "")]
    pub proxy_component_log_level: String,
    /// Name of the service that the proxy belongs to
    #[arg(long = "serviceCluster", default_value = "")]
    pub service_cluster: String,
    /// Worker threads (see also ProxyConfig.concurrency)
    #[arg(long, default_value = "0")]
    pub concurrency: u32,
    /// Port of the mesh's STS server; not supported
    #[arg(long = "stsPort", default_value = "0", hide = true)]
    pub sts_port: u16,
    /// Plugin of the token manager; not supported
    #[arg(long = "tokenManagerPlugin", default_value = "", hide = true)]
    pub token_manager: String,
    /// Template of the bootstrap; not supported
    #[arg(long = "templateFile", default_value = "", hide = true)]
    pub template_file: String,
    /// Where outlier detection logs to
    #[arg(long = "outlierLogPath", default_value = "")]
    pub outlier_log_path: String,
    /// Mesh configuration file; settings come from PROXY_CONFIG
    #[arg(long = "meshConfig", default_value = "", hide = true)]
    pub mesh_config: String,
    /// Logging
    #[command(flatten)]
    pub log: LogArgs,
}

impl Default for ProxyArgs {
    fn default() -> Self {
        Self {
            role: NodeKind::Sidecar,
            domain: String::new(),
            proxy_log_level: String::new(),
            proxy_component_log_level: String::new(),
            service_cluster: String::new(),
            concurrency: 0,
            sts_port: 0,
            token_manager: String::new(),
            template_file: String::new(),
            outlier_log_path: String::new(),
            mesh_config: String::new(),
            log: LogArgs::default(),
        }
    }
}

fn role(text: &str) -> Result<NodeKind, String> {
    match text.parse() {
        Ok(kind @ (NodeKind::Sidecar | NodeKind::Router)) => Ok(kind),
        _ => Err("expected sidecar or router".to_owned()),
    }
}

/// `istio-iptables`.
#[derive(Clone, Debug, Args)]
pub struct CaptureCommand {
    /// What to capture
    #[command(flatten)]
    pub capture: CaptureArgs,
    /// Logging
    #[command(flatten)]
    pub log: LogArgs,
}

/// `request`.
#[derive(Clone, Debug, Args)]
pub struct RequestArgs {
    /// Port to ask
    #[arg(long, default_value = "15000")]
    pub debug_port: u16,
    /// HTTP method
    pub method: String,
    /// Path, with or without a leading slash
    pub path: String,
    /// Body
    pub body: Option<String>,
}

/// `wait`.
#[derive(Clone, Debug, Args)]
pub struct WaitArgs {
    /// What to ask
    #[arg(long, default_value = "http://localhost:15021/healthz/ready")]
    pub url: String,
    /// Seconds after which to give up
    #[arg(long = "timeoutSeconds", default_value = "60")]
    pub timeout_seconds: u64,
    /// Milliseconds between two attempts
    #[arg(long = "periodMillis", default_value = "500")]
    pub period_millis: u64,
    /// Milliseconds after which one attempt fails
    #[arg(long = "requestTimeoutMillis", default_value = "500")]
    pub request_timeout_millis: u64,
}

/// `version`.
#[derive(Clone, Debug, Args)]
pub struct VersionArgs {
    /// Version only
    #[arg(short, long)]
    pub short: bool,
    /// json or yaml
    #[arg(short, long, default_value = "")]
    pub output: String,
}
