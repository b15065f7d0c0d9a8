//! Controllers, pods as processes in network namespaces, service proxy, DNS and load-balancer ports.

pub mod cache;
pub mod cluster;
pub mod container;
mod controllers;
pub mod dns;
pub mod host_ports;
pub mod images;
pub mod launch;
pub mod net;
pub mod pod;
pub mod proxy;
mod sys;
