//! The engine as a whole, with mock upstreams and clients in the same process on the loopback interface.

mod harness;
mod proxying;
mod telemetry;
