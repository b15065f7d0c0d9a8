//! HTTP connections and exchanges.
//!
//! A [`server`] reads requests off a connection; [`exchange`] is the life of one of them. HTTP/1 and HTTP/2 differ only at the ends.

pub mod admit;
pub mod attempt;
pub mod attempts;
pub mod compile;
pub mod connection;
pub mod download;
pub mod exchange;
pub mod forward;
pub mod hcm;
pub mod limits;
pub mod mirror;
pub mod path;
pub mod record;
pub mod reply;
pub mod server;
pub mod upgrade;
pub mod upload;
pub mod xfcc;

pub use hcm::Hcm;
