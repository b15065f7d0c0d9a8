//! Sockets: binding, dialling, original destinations, streams that can give back what was read, writes that leave together.

pub mod copy;
pub mod gather;
pub mod original_dst;
pub mod socket;
pub mod stream;
