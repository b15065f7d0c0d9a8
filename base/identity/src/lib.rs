//! SPIFFE identities, keys, CSRs, certificate chains, verification and rustls configurations.
