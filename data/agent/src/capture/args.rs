//! The flags of `istio-iptables`.

use clap::Args;

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
    /// User (id or name) whose traffic is the proxy's own
    #[arg(short = 'u', long, default_value = "1337")]
    pub proxy_uid: String,
    /// Group (id or name) whose traffic is the proxy's own
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
    #[arg(short = 'n', long)]
    pub dry_run: bool,
    /// Take all rules away
    #[arg(long)]
    pub cleanup: bool,
    /// Capture DNS
    #[arg(long)]
    pub redirect_dns: bool,
    /// Capture DNS to every server
    #[arg(long)]
    pub capture_all_dns: bool,
    /// Drop packets that connection tracking finds invalid
    #[arg(long)]
    pub drop_invalid: bool,
    /// Write IPv6 rules, too (otherwise when the pod has a global IPv6 address)
    #[arg(long)]
    pub dual_stack: bool,
    /// Do not apply, as with a CNI plugin
    #[arg(long)]
    pub skip_rule_apply: bool,
    /// Check by a connection that capture works
    #[arg(long)]
    pub run_validation: bool,
    /// Apply even if the rules are there already
    #[arg(long)]
    pub force_apply: bool,
    /// Replace rules that differ
    #[arg(long)]
    pub reconcile: bool,
    /// Use nft instead of iptables
    #[arg(long)]
    pub native_nftables: bool,
    /// Text for iptables-restore (always so)
    #[arg(short = 'f', long, num_args = 0..=1, default_missing_value = "true")]
    pub restore_format: Option<bool>,
    /// Log captured packets
    #[arg(long)]
    pub iptables_trace_logging: bool,
    /// Run as a CNI plugin
    #[arg(long)]
    pub cni_mode: bool,
    /// Port of the check
    #[arg(long, default_value = "15002")]
    pub iptables_probe_port: u16,
    /// Time limit of the check
    #[arg(long, default_value = "5s")]
    pub probe_timeout: String,
    /// Groups whose outbound traffic is captured: a list, or * for all
    #[arg(long, default_value = "*")]
    pub owner_groups_include: String,
    /// Groups whose outbound traffic is not captured
    #[arg(long, default_value = "")]
    pub owner_groups_exclude: String,
    /// Network namespace to work in
    #[arg(long, default_value = "")]
    pub network_namespace: String,
}

impl CaptureArgs {
    /// Flags that ask for something we do not do, with what happens instead.
    pub(super) fn unsupported(&self) -> Vec<&'static str> {
        let flags = [
            (
                self.redirect_dns || self.capture_all_dns,
                "DNS capture (--redirect-dns) is not supported yet: names are resolved by the pod's own resolver",
            ),
            (self.native_nftables, "--native-nftables is not supported yet: iptables is used"),
            (self.iptables_trace_logging, "--iptables-trace-logging is not supported and ignored"),
            (
                self.cni_mode || !self.network_namespace.is_empty(),
                "CNI mode is not supported: the rules go to the current network namespace",
            ),
            (
                self.owner_groups_include != "*" && !self.owner_groups_include.is_empty(),
                "--owner-groups-include is not supported and ignored",
            ),
        ];
        flags.into_iter().filter_map(|(given, text)| given.then_some(text)).collect()
    }
}
