//! The serving side: one machine a stream, and the gRPC adapter that drives it.

mod adapter;
mod delta;
mod handler;
mod machine;
mod service;
mod sotw;

pub use adapter::{Limits, Out, drive};
pub use delta::DeltaStream;
pub use handler::{Handler, Peer, Session, StreamInfo};
pub use machine::{Ack, Machine, Outcome, Refusal, Sent};
pub use service::{Discovery, sds_service, service, service_with};
pub use sotw::SotwStream;
