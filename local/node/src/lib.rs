//! Controllers, pods as processes in network namespaces, service proxy, DNS and load-balancer ports.
