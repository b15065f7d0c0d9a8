//! Bookinfo: a book shop of four services, with the paths, headers, time-outs and texts that Istio's tutorials rely on.

pub mod details;
pub mod productpage;
pub mod ratings;
pub mod reviews;

mod page;

/// The port that all four services answer at.
const PORT: u16 = 9080;

/// The port from the environment variable `PORT`, or 9080.
fn port() -> u16 {
    crate::serve::env_port("PORT", PORT)
}
