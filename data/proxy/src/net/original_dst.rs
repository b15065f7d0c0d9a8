//! Where a redirected connection was going.

use std::net::SocketAddr;

use rustix::net::sockopt;
use tokio::net::TcpStream;

/// The destination before the kernel's redirection (`SO_ORIGINAL_DST`); `None` when the connection was not redirected.
pub fn of(stream: &TcpStream) -> Option<SocketAddr> {
    let local = stream.local_addr().ok()?;
    let is_v4 = match local {
        SocketAddr::V4(_) => true,
        SocketAddr::V6(v6) => v6.ip().to_ipv4_mapped().is_some(),
    };
    let original = if is_v4 {
        sockopt::ip_original_dst(stream).ok().map(SocketAddr::V4)
    } else {
        sockopt::ipv6_original_dst(stream).ok().map(SocketAddr::V6)
    };
    original.filter(|addr| addr.port() != 0)
}
