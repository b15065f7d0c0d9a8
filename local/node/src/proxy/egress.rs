//! Connections from pods to the outside world: nft brings them here with their original destination, and the host's
//! network carries them on. The cluster needs no route, no address and no privilege outside.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};

use socket2::SockRef;
use tokio::net::{TcpListener, TcpStream};

use super::forward::{reset, splice};
use super::program::EGRESS_PORT;
use crate::host_ports::HostPorts;
use crate::net::{GATEWAY, pod_cidr, service_cidr};

/// Serves until the task is dropped.
pub async fn serve(host: HostPorts) -> io::Result<()> {
    let listener = TcpListener::bind(SocketAddr::from((GATEWAY, EGRESS_PORT))).await?;
    loop {
        let Ok((client, _)) = listener.accept().await else {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            continue;
        };
        let host = host.clone();
        tokio::spawn(async move {
            match connect(&client, &host).await {
                Ok(server) => {
                    let _ = client.set_nodelay(true);
                    splice(client, server).await;
                }
                Err(error) => {
                    tracing::debug!(%error, "a connection to the outside failed");
                    reset(client);
                }
            }
        });
    }
}

async fn connect(client: &TcpStream, host: &HostPorts) -> io::Result<TcpStream> {
    let original = SockRef::from(client).original_dst_v4()?.as_socket_ipv4();
    let original = original.ok_or_else(|| io::Error::other("no original destination"))?;
    if !is_outside(original) {
        return Err(io::Error::other(format!("{original} is not outside the cluster")));
    }
    host.connect(original.into()).await
}

/// Whether an address may be reached through the host: not the cluster's own ranges, nor the host's loopback.
fn is_outside(address: SocketAddrV4) -> bool {
    let ip: &Ipv4Addr = address.ip();
    !(pod_cidr().contains(ip)
        || service_cidr().contains(ip)
        || ip.is_loopback()
        || ip.is_link_local()
        || ip.is_unspecified()
        || ip.is_multicast()
        || ip.is_broadcast())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cluster_and_the_hosts_loopback_are_not_outside() {
        for inside in [
            "10.244.3.4:80",
            "10.96.0.1:443",
            "127.0.0.1:22",
            "169.254.169.254:80",
            "0.0.0.0:1",
            "224.0.0.1:1",
        ] {
            assert!(!is_outside(inside.parse().unwrap()), "{inside}");
        }
        for outside in ["93.184.216.34:443", "192.168.1.7:80"] {
            assert!(is_outside(outside.parse().unwrap()), "{outside}");
        }
    }
}
