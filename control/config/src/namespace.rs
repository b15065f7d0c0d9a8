//! Namespaces of the cluster's own machinery.

/// Where no workload of users runs: nothing is injected there, and nobody there needs the mesh's root.
pub const SYSTEM: [&str; 4] = ["kube-system", "kube-public", "kube-node-lease", "local-path-storage"];

/// Is it one of those?
pub fn is_system(namespace: &str) -> bool {
    SYSTEM.contains(&namespace)
}
