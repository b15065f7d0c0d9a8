//! One binary, several roles: the CLI, istiod, the proxy, istio-iptables and the local cluster.

fn main() {}
