//! (&Snapshot, &ProxyView) to Envoy resources.
