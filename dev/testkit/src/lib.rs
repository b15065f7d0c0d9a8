//! Test harnesses: namespaces, mock upstreams, in-memory control planes.
