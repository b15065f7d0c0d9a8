//! The xDS protocol as two state machines (server and client; state-of-the-world and delta) and their gRPC adapters.
