//! Controllers, pods as processes in network namespaces, service proxy, DNS and load-balancer ports.

pub mod container;
pub mod dns;
pub mod host_ports;
pub mod images;
pub mod launch;
pub mod net;
pub mod proxy;
mod sys;
