//! Sockets: binding, dialling, original destinations, streams that can give back what was read.

pub mod copy;
pub mod original_dst;
pub mod socket;
pub mod stream;
