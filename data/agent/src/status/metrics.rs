//! The agent's own metrics, under the names that Istio's users know.

use meltemi_process::metrics::{Counter, Gauge, Registry};

use crate::dns::DnsMetrics;
use crate::relay::RelayMetrics;

/// All metrics of the agent.
#[derive(Clone, Debug)]
pub struct AgentMetrics {
    /// Where they are registered.
    pub registry: Registry,
    /// Seconds until the workload's certificate ends.
    pub cert_expiry: Gauge,
    /// Requests to the certificate authority.
    pub outgoing_requests: Counter,
    /// Those that failed.
    pub failed_outgoing_requests: Counter,
    /// Seconds from start to ready.
    pub startup_duration: Gauge,
    /// Scrapes of this agent.
    pub scrapes: Counter,
    /// Failed scrapes of the application, the proxy and the agent itself.
    pub scrape_failures: meltemi_process::metrics::Family<meltemi_process::metrics::Labels, Counter>,
    /// Captured look-ups.
    pub dns: DnsMetrics,
    /// ADS pass-through.
    pub relay: RelayMetrics,
}

impl AgentMetrics {
    /// Registers them.
    pub fn new() -> Self {
        let registry = Registry::new();
        let counter = |name: &str, help: &str| registry.counter(&format!("istio_agent_{name}"), help);
        let gauge = |name: &str, help: &str| registry.gauge(&format!("istio_agent_{name}"), help);
        let failures = registry.counters("istio_agent_scrape_failures_total", "Failed scrapes, by source");
        Self {
            cert_expiry: gauge("cert_expiry_seconds", "Seconds until the workload certificate ends"),
            outgoing_requests: counter("num_outgoing_requests", "Requests to the certificate authority"),
            failed_outgoing_requests: counter(
                "num_failed_outgoing_requests",
                "Failed requests to the certificate authority",
            ),
            startup_duration: gauge("startup_duration_seconds", "Seconds from start to ready"),
            scrapes: counter("scrapes_total", "Scrapes of this agent"),
            scrape_failures: failures,
            dns: DnsMetrics {
                requests: counter("dns_requests_total", "Captured look-ups"),
                upstream_requests: counter("dns_upstream_requests_total", "Look-ups passed on to a resolver"),
                upstream_failures: counter(
                    "dns_upstream_failures_total",
                    "Look-ups that no resolver answered",
                ),
            },
            relay: RelayMetrics {
                requests: counter("xds_proxy_requests", "Discovery requests of the proxy"),
                responses: counter("xds_proxy_responses", "Discovery responses to the proxy"),
                connection_failures: counter(
                    "istiod_connection_failures",
                    "Failed connections to the control plane",
                ),
                terminations: counter("istiod_connection_terminations", "Ended streams to the control plane"),
            },
            registry,
        }
    }
}

impl Default for AgentMetrics {
    fn default() -> Self {
        Self::new()
    }
}
