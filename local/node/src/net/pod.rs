//! One pod's network namespace.

use std::fs::File;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU32, Ordering};

use ipnet::Ipv4Net;
use nix::sched::{CloneFlags, setns, unshare};

use super::{GATEWAY, NODE_IP, netlink, netlink::Netlink};
use crate::sys;

/// A network namespace with `eth0`, kept alive by its descriptor; dropping it takes it all down.
#[derive(Debug)]
pub struct PodNetwork {
    namespace: OwnedFd,
    address: Ipv4Addr,
}

/// Interface names must differ in the cluster's namespace, and an old one may linger a moment after its pod.
static NEXT: AtomicU32 = AtomicU32::new(1);

impl PodNetwork {
    /// Makes the namespace of a pod with the given address, linked to the calling process' namespace.
    pub async fn create(address: Ipv4Addr) -> io::Result<Self> {
        tokio::task::spawn_blocking(move || Self::create_blocking(address)).await.map_err(io::Error::other)?
    }

    fn create_blocking(address: Ipv4Addr) -> io::Result<Self> {
        let cluster: OwnedFd = File::open("/proc/self/ns/net")?.into();
        let link = format!("pod{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let peer = link.clone();
        // Namespaces belong to threads: a thread of its own makes the new one and ends.
        let made = std::thread::spawn(move || inside(address, &peer, &cluster)).join();
        let namespace =
            made.map_err(|_| io::Error::other("the thread that makes the pod's network died"))??;
        let mut netlink = Netlink::open()?;
        let index = netlink::index_of(&link)?;
        netlink.set_up(index)?;
        netlink.add_route(Ipv4Net::from(address), index, None, Some(NODE_IP))?;
        Ok(Self { namespace, address })
    }

    /// The pod's address.
    pub fn address(&self) -> Ipv4Addr {
        self.address
    }

    /// The namespace, for `setns`.
    pub fn namespace(&self) -> BorrowedFd<'_> {
        self.namespace.as_fd()
    }

    /// Connects to a TCP port on the pod's own loopback address, IPv4 first.
    pub async fn connect_loopback(&self, port: u16) -> io::Result<tokio::net::TcpStream> {
        let namespace = self.namespace.try_clone()?;
        let connected = tokio::task::spawn_blocking(move || {
            std::thread::spawn(move || {
                setns(&namespace, CloneFlags::CLONE_NEWNET)?;
                let v4 = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
                let v6 = SocketAddr::from((std::net::Ipv6Addr::LOCALHOST, port));
                std::net::TcpStream::connect(v4)
                    .or_else(|first| std::net::TcpStream::connect(v6).map_err(|_| first))
            })
            .join()
        });
        let joined = connected.await.map_err(io::Error::other)?;
        let stream = joined.map_err(|_| io::Error::other("the connecting thread died"))??;
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        tokio::net::TcpStream::from_std(stream)
    }
}

/// Runs in the pod's side: makes the namespace and everything in it.
fn inside(address: Ipv4Addr, peer: &str, cluster: &OwnedFd) -> io::Result<OwnedFd> {
    unshare(CloneFlags::CLONE_NEWNET)?;
    let namespace: OwnedFd = File::open("/proc/thread-self/ns/net")?.into();
    let mut netlink = Netlink::open()?;
    netlink.set_up(netlink::index_of("lo")?)?;
    netlink.add_veth("eth0", peer, cluster)?;
    let eth0 = netlink::index_of("eth0")?;
    netlink.set_up(eth0)?;
    netlink.add_address(eth0, address)?;
    netlink.add_route(Ipv4Net::from(GATEWAY), eth0, None, None)?;
    netlink.add_route(Ipv4Net::default(), eth0, Some(GATEWAY), Some(address))?;
    // As container runtimes do: ports below 1024 need no privilege inside a pod.
    sys::write_proc("/proc/sys/net/ipv4/ip_unprivileged_port_start", "0")?;
    Ok(namespace)
}
