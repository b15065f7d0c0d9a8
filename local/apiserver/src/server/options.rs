//! What an API server is opened with.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

/// Settings of an API server.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where objects and keys are kept.
    pub data_dir: PathBuf,
    /// First address of the service network; the `kubernetes` service gets the next one.
    pub service_network: Ipv4Addr,
    /// Prefix length of the service network.
    pub service_prefix: u8,
    /// Where pods reach this server: the endpoint of the `kubernetes` service. `None` until it is known.
    pub advertise: Option<(IpAddr, u16)>,
    /// More names for the serving certificate.
    pub extra_names: Vec<String>,
    /// More addresses for the serving certificate.
    pub extra_ips: Vec<IpAddr>,
}

impl Options {
    /// The defaults for a data directory: services in 10.96.0.0/16.
    pub fn new(data_dir: impl Into<PathBuf>) -> Self {
        Options {
            data_dir: data_dir.into(),
            service_network: Ipv4Addr::new(10, 96, 0, 0),
            service_prefix: 16,
            advertise: None,
            extra_names: Vec::new(),
            extra_ips: Vec::new(),
        }
    }

    /// The address of the `kubernetes` service.
    pub fn kubernetes_ip(&self) -> Ipv4Addr {
        Ipv4Addr::from(u32::from(self.service_network).wrapping_add(1))
    }
}
