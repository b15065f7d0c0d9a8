//! Pods: a pure state machine that decides, and a worker per pod that does.

pub mod claims;
pub mod env;
pub mod events;
pub mod live;
mod old_logs;
pub mod plan;
pub mod probe;
pub mod roster;
mod start;
pub mod state;
pub mod status;
pub mod streams;
pub mod volumes;
pub mod worker;
