//! The ground floor: named cells, rejections, addresses, durations, bodies, time-outs and the drain signal.

pub mod address;
pub mod body;
pub mod drain;
pub mod duration;
pub mod executor;
pub mod head;
pub mod outgoing;
pub mod patience;
pub mod reject;
pub mod slot;
