//! The ports of istiod, bound before anything else so that a taken one is told at once.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use anyhow::Context;
use tokio::net::TcpListener;

use crate::options::Options;

/// Bound ports.
pub struct Listeners {
    /// `--monitoringAddr`.
    pub monitoring: TcpListener,
    /// `--httpAddr`.
    pub http: TcpListener,
    /// `--httpsAddr`.
    pub https: TcpListener,
    /// `--grpcAddr`.
    pub grpc: TcpListener,
    /// `--secureGRPCAddr`.
    pub secure_grpc: TcpListener,
}

impl Listeners {
    /// Binds all.
    pub async fn bind(options: &Options) -> anyhow::Result<Self> {
        Ok(Self {
            monitoring: bind("--monitoringAddr", options.monitoring_addr).await?,
            http: bind("--httpAddr", options.http_addr).await?,
            https: bind("--httpsAddr", options.https_addr).await?,
            grpc: bind("--grpcAddr", options.plain_grpc_addr()).await?,
            secure_grpc: bind("--secureGRPCAddr", options.secure_grpc_addr).await?,
        })
    }
}

async fn bind(flag: &str, address: SocketAddr) -> anyhow::Result<TcpListener> {
    let bound = match TcpListener::bind(address).await {
        // A machine without IPv6.
        Err(error)
            if address.ip() == IpAddr::from([0u16; 8]) && error.kind() != std::io::ErrorKind::AddrInUse =>
        {
            TcpListener::bind((Ipv4Addr::UNSPECIFIED, address.port())).await
        }
        bound => bound,
    };
    bound.with_context(|| format!("cannot listen on {address}: free the port, or choose another by {flag}"))
}
