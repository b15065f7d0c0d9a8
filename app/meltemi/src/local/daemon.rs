//! The daemon of the local cluster: process 1 of its own namespaces.
