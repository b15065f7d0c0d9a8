//! Pods: a pure state machine that decides, and a worker per pod that does.

pub mod env;
pub mod events;
pub mod live;
pub mod manager;
pub mod plan;
pub mod probe;
mod start;
pub mod state;
pub mod status;
pub mod streams;
pub mod volumes;
pub mod worker;
