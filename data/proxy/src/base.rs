//! The ground floor: named cells, rejections, addresses, durations, bodies and the drain signal.

pub mod address;
pub mod body;
pub mod drain;
pub mod duration;
pub mod executor;
pub mod head;
pub mod reject;
pub mod slot;
