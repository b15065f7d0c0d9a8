//! Envoy v3 and Istio wire types, type URLs, proto-JSON, well-known ports and metadata keys.
