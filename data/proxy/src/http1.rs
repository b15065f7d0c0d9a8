//! The client's side of HTTP/1.1, polled by the request itself: no task, channel or copy of the headers between a request and its
//! connection. Framing is as RFC 9112 has it and as strict as Envoy's: what could be read in two ways is refused.

mod body;
mod connection;
mod framing;
mod head;
mod outbox;

use std::fmt;

pub use self::body::Download;
pub use self::connection::Connection;

/// What the peer sent is not HTTP/1, or not safe to read: where it went wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed(pub &'static str);

/// Why a request got no response.
#[derive(Debug)]
pub enum Lost {
    /// The connection ended.
    Closed,
    /// The peer does not speak HTTP/1.
    Malformed(Malformed),
    /// The request's own body broke off.
    Upload,
}

impl From<Malformed> for Lost {
    fn from(malformed: Malformed) -> Self {
        Self::Malformed(malformed)
    }
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "malformed HTTP/1 response: {}", self.0)
    }
}

impl std::error::Error for Malformed {}

#[cfg(test)]
mod tests;
