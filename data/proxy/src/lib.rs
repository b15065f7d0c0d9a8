//! The engine: bootstrap and xDS in, traffic out.
