//! What surrounds the engine in a pod: bootstrap, token, CSR to SDS, DNS, probes, metrics merge, traffic capture.
