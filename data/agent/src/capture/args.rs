//! The flags of `istio-iptables`, and the environment variables that stand for them.

use std::ffi::OsString;

use clap::Args;
use clap::builder::BoolishValueParser;

/// Flags as Istio has them. Flags of features that we do not have are accepted and reported.
#[derive(Clone, Debug, Default, Args)]
pub struct CaptureArgs {
    /// Port of the proxy for outbound traffic
    #[arg(short = 'p', long, default_value = "15001")]
    pub envoy_port: u16,
    /// Port of the proxy for inbound traffic
    #[arg(short = 'z', long, default_value = "15006")]
    pub inbound_capture_port: u16,
    /// Port of the proxy for tunnelled inbound traffic, which is never captured
    #[arg(short = 'e', long, default_value = "15008")]
    pub inbound_tunnel_port: u16,
    /// Users (ids or names) whose traffic is the proxy's own; else that of ENVOY_USER, else 1337
    #[arg(short = 'u', long, default_value = "")]
    pub proxy_uid: String,
    /// Groups (ids or names) whose traffic is the proxy's own; else the same ids as the users
    #[arg(short = 'g', long, default_value = "")]
    pub proxy_gid: String,
    /// REDIRECT or TPROXY
    #[arg(short = 'm', long, default_value = "")]
    pub istio_inbound_interception_mode: String,
    /// Inbound ports to capture: a list, or * for all
    #[arg(short = 'b', long, default_value = "")]
    pub istio_inbound_ports: String,
    /// Inbound ports not to capture, when all are
    #[arg(short = 'd', long, default_value = "")]
    pub istio_local_exclude_ports: String,
    /// Outbound destinations to capture: CIDRs, or * for all
    #[arg(short = 'i', long, default_value = "")]
    pub istio_service_cidr: String,
    /// Outbound destinations not to capture: CIDRs
    #[arg(short = 'x', long, default_value = "")]
    pub istio_service_exclude_cidr: String,
    /// Outbound ports to capture wherever they go
    #[arg(short = 'q', long, default_value = "")]
    pub istio_outbound_ports: String,
    /// Outbound ports not to capture
    #[arg(short = 'o', long, default_value = "")]
    pub istio_local_outbound_ports_exclude: String,
    /// Interfaces whose inbound traffic counts as outbound (virtual machines)
    #[arg(short = 'k', long, default_value = "")]
    pub kube_virt_interfaces: String,
    /// Interfaces not to capture
    #[arg(short = 'c', long, default_value = "")]
    pub istio_exclude_interfaces: String,
    /// Mark of packets under TPROXY
    #[arg(short = 't', long, default_value = "1337")]
    pub istio_inbound_tproxy_mark: u32,
    /// Routing table of packets under TPROXY
    #[arg(short = 'r', long, default_value = "133")]
    pub istio_inbound_tproxy_route_table: u32,
    /// Print the rules and apply nothing
    #[arg(short = 'n', long, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value = "false", value_parser = BoolishValueParser::new(), action = clap::ArgAction::Set)]
    pub dry_run: bool,
    /// Take all rules away
    #[arg(long, alias = "cleanup", num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value = "false", value_parser = BoolishValueParser::new(), action = clap::ArgAction::Set)]
    pub cleanup_only: bool,
    /// Capture DNS: look-ups go to the agent
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value = "false", value_parser = BoolishValueParser::new(), action = clap::ArgAction::Set)]
    pub redirect_dns: bool,
    /// With --redirect-dns: look-ups to any server, not only to those of /etc/resolv.conf
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value = "false", value_parser = BoolishValueParser::new(), action = clap::ArgAction::Set)]
    pub capture_all_dns: bool,
    /// Drop packets that connection tracking finds invalid
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value = "false", value_parser = BoolishValueParser::new(), action = clap::ArgAction::Set)]
    pub drop_invalid: bool,
    /// Write IPv6 rules, too (otherwise when the pod has a global IPv6 address)
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value = "false", value_parser = BoolishValueParser::new(), action = clap::ArgAction::Set)]
    pub dual_stack: bool,
    /// Do not apply, as with a CNI plugin
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value = "false", value_parser = BoolishValueParser::new(), action = clap::ArgAction::Set)]
    pub skip_rule_apply: bool,
    /// Check by a connection that capture works
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value = "false", value_parser = BoolishValueParser::new(), action = clap::ArgAction::Set)]
    pub run_validation: bool,
    /// Apply even if the rules are there already (always so)
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value = "false", value_parser = BoolishValueParser::new(), action = clap::ArgAction::Set)]
    pub force_apply: bool,
    /// Replace rules that differ (always so)
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value = "false", value_parser = BoolishValueParser::new(), action = clap::ArgAction::Set)]
    pub reconcile: bool,
    /// Use nft instead of iptables
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value = "false", value_parser = BoolishValueParser::new(), action = clap::ArgAction::Set)]
    pub native_nftables: bool,
    /// Text for iptables-restore (always so)
    #[arg(short = 'f', long, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value = "false", value_parser = BoolishValueParser::new(), action = clap::ArgAction::Set)]
    pub restore_format: bool,
    /// Log captured packets; not supported
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value = "false", value_parser = BoolishValueParser::new(), action = clap::ArgAction::Set)]
    pub iptables_trace_logging: bool,
    /// Run as a CNI plugin: the same rules
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value = "false", value_parser = BoolishValueParser::new(), action = clap::ArgAction::Set)]
    pub cni_mode: bool,
    /// Which iptables to use: iptables, iptables-nft or iptables-legacy
    #[arg(long, default_value = "")]
    pub force_iptables_binary: String,
    /// Port that the check dials
    #[arg(long, default_value = "15002")]
    pub iptables_probe_port: u16,
    /// Time limit of the check
    #[arg(long, default_value = "5s")]
    pub probe_timeout: String,
    /// Network namespace to work in: a file, such as /var/run/netns/pod
    #[arg(long, default_value = "")]
    pub network_namespace: String,
    /// Groups whose outbound traffic is captured: a list, or * for all (ISTIO_OUTBOUND_OWNER_GROUPS)
    #[arg(long, default_value = "*")]
    pub owner_groups_include: String,
    /// Groups whose outbound traffic is not captured (ISTIO_OUTBOUND_OWNER_GROUPS_EXCLUDE)
    #[arg(long, default_value = "")]
    pub owner_groups_exclude: String,
    /// IPv4 destinations that count as talking to oneself
    #[arg(long, default_value = "127.0.0.1/32", hide = true)]
    pub istio_outbound_ipv4_loopback_cidr: String,
    /// User of the proxy by name, where -u is not given
    #[arg(long, default_value = "", hide = true)]
    pub envoy_user: String,
}

/// Variables by flag: a flag's own name in capitals, and the names that other programs of the mesh use for the same.
const VARIABLES: &[(&str, &[&str])] = &[
    ("envoy-port", &[]),
    ("inbound-capture-port", &[]),
    ("inbound-tunnel-port", &[]),
    ("proxy-uid", &[]),
    ("proxy-gid", &[]),
    ("istio-inbound-interception-mode", &["INBOUND_INTERCEPTION_MODE"]),
    ("istio-inbound-tproxy-mark", &["INBOUND_TPROXY_MARK"]),
    ("istio-inbound-tproxy-route-table", &[]),
    ("istio-inbound-ports", &[]),
    ("istio-local-exclude-ports", &[]),
    ("istio-exclude-interfaces", &[]),
    ("istio-service-cidr", &[]),
    ("istio-service-exclude-cidr", &[]),
    ("istio-outbound-ports", &[]),
    ("istio-local-outbound-ports-exclude", &[]),
    ("istio-outbound-ipv4-loopback-cidr", &[]),
    ("kube-virt-interfaces", &[]),
    ("envoy-user", &[]),
    ("dry-run", &[]),
    ("cleanup-only", &[]),
    ("redirect-dns", &["ISTIO_META_DNS_CAPTURE"]),
    ("capture-all-dns", &[]),
    ("drop-invalid", &["INVALID_DROP"]),
    ("dual-stack", &["ISTIO_DUAL_STACK"]),
    ("skip-rule-apply", &[]),
    ("run-validation", &[]),
    ("force-apply", &[]),
    ("reconcile", &[]),
    ("native-nftables", &[]),
    ("cni-mode", &[]),
    ("force-iptables-binary", &[]),
    ("iptables-probe-port", &[]),
    ("probe-timeout", &[]),
    ("network-namespace", &[]),
    ("owner-groups-include", &["ISTIO_OUTBOUND_OWNER_GROUPS"]),
    ("owner-groups-exclude", &["ISTIO_OUTBOUND_OWNER_GROUPS_EXCLUDE"]),
];

/// What the environment says, as arguments. They stand before those of the command line, which win.
pub fn from_environment(variable: impl Fn(&str) -> Option<OsString>) -> Vec<OsString> {
    let mut all = Vec::new();
    for (flag, others) in VARIABLES {
        let own = flag.to_ascii_uppercase().replace('-', "_");
        let names = others.iter().copied().chain([own.as_str()]);
        for value in names.filter_map(&variable).filter(|value| !value.is_empty()) {
            let mut argument = OsString::from(format!("--{flag}="));
            argument.push(value);
            all.push(argument);
        }
    }
    all
}

impl CaptureArgs {
    /// Flags that ask for something we do not do, with what happens instead.
    pub(super) fn unsupported(&self) -> Vec<&'static str> {
        let flags = [(
            self.iptables_trace_logging,
            "--iptables-trace-logging is not supported and ignored: the rules count, see iptables -vL or nft list ruleset",
        )];
        flags.into_iter().filter_map(|(given, text)| given.then_some(text)).collect()
    }
}
