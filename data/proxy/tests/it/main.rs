//! The engine as a whole, with mock upstreams and clients in the same process on the loopback interface.

// Whatever fails here fails the test.
#![allow(clippy::unwrap_used)]

mod capture;
mod closing;
mod control;
mod draining;
mod harness;
mod mesh;
mod origination;
mod pools;
mod protocols;
mod proxying;
mod retries;
mod routing;
mod streams;
mod tcp;
mod telemetry;
mod updates;
mod waiting;
