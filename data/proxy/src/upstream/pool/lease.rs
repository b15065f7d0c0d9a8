//! A connection in the hands of one request.

use std::rc::Rc;
use std::sync::Arc;

use http::{Request, Response};

use super::HostPool;
use super::http1::{Http1, Presence};
use super::http2::Stream;
use crate::base::body::Body;
use crate::base::outgoing::Outgoing;
use crate::net::stream::Rewound;
use crate::tls::maybe::Upstream;
use crate::upstream::connect::ConnInfo;
use crate::{http1, http2};

pub(super) enum Sender {
    Http1(Http1),
    Http2(Stream, Option<Request<Body>>),
}

/// A connection lent to one request. Dropping it closes a HTTP/1.1 connection; [`Lease::finish`] gives it back.
pub struct Lease {
    pool: Rc<HostPool>,
    sender: Sender,
    reused: bool,
}

/// A request that got no response.
#[derive(Debug)]
pub struct SendFailure {
    cause: Cause,
    /// The request never left: sending it again cannot duplicate anything.
    pub unsent: bool,
}

#[derive(Debug)]
enum Cause {
    Http1(http1::Lost),
    Http2(http2::Lost),
    NotBegun,
}

impl SendFailure {
    /// What HTTP/2 says of it.
    pub fn http2(&self) -> Option<&h2::Error> {
        match &self.cause {
            Cause::Http2(http2::Lost::Unsent(error) | http2::Lost::Ended(error)) => Some(error),
            _ => None,
        }
    }

    /// Whether the peer's GOAWAY left the stream out: it promises that the request was not looked at (RFC 9113, 6.8).
    pub fn is_left_out(&self) -> bool {
        self.http2().is_some_and(|error| error.is_go_away() && error.is_remote())
    }

    /// Whether the peer does not speak HTTP/1.
    pub fn is_malformed(&self) -> bool {
        matches!(self.cause, Cause::Http1(http1::Lost::Malformed(_)))
    }
}

impl Lease {
    pub(super) fn http1(pool: &Rc<HostPool>, conn: Http1, reused: bool) -> Self {
        Self { pool: pool.clone(), sender: Sender::Http1(conn), reused }
    }

    pub(super) fn http2(pool: &Rc<HostPool>, stream: Stream, reused: bool) -> Self {
        Self { pool: pool.clone(), sender: Sender::Http2(stream, None), reused }
    }

    /// Whether the connection served another request before.
    pub fn is_reused(&self) -> bool {
        self.reused
    }

    /// Whether requests are sent as HTTP/2.
    pub fn is_http2(&self) -> bool {
        matches!(self.sender, Sender::Http2(..))
    }

    /// What is known of the connection.
    pub fn info(&self) -> &Arc<ConnInfo> {
        match &self.sender {
            Sender::Http1(conn) => &conn.info,
            Sender::Http2(stream, _) => &stream.conn.info,
        }
    }

    /// Begins a request; `None` when its head does not make a valid one.
    pub fn begin(&mut self, request: Outgoing<'_>) -> Option<()> {
        match &mut self.sender {
            Sender::Http1(conn) => conn.begin(request),
            Sender::Http2(_, begun) => {
                *begun = Some(request.into_http2()?);
                Some(())
            }
        }
    }

    /// Sends the request that was begun and waits for the response's head.
    pub async fn answer(&mut self) -> Result<Response<Body>, SendFailure> {
        match &mut self.sender {
            Sender::Http1(conn) => conn.connection.answer().await.map_err(|lost| {
                if let http1::Lost::Malformed(malformed) = &lost {
                    tracing::debug!(%malformed, "upstream");
                }
                let unsent = matches!(lost, http1::Lost::Closed) && conn.connection.is_untouched();
                SendFailure { cause: Cause::Http1(lost), unsent }
            }),
            Sender::Http2(stream, begun) => {
                let request = begun.take().ok_or(SendFailure { cause: Cause::NotBegun, unsent: true })?;
                http2::answer(stream.conn.sender(), request).await.map_err(|lost| {
                    let unsent = matches!(lost, http2::Lost::Unsent(_));
                    SendFailure { cause: Cause::Http2(lost), unsent }
                })
            }
        }
    }

    /// The response is complete: the connection may serve another request.
    pub fn finish(self) {
        if let Sender::Http1(conn) = self.sender {
            self.pool.give_back(conn);
        }
    }

    /// The bytes of a HTTP/1.1 connection that has left HTTP, and what counts it until dropped.
    pub fn into_raw(self) -> Option<(Rewound<Upstream>, Presence)> {
        match self.sender {
            Sender::Http1(conn) => conn.into_raw(),
            Sender::Http2(..) => None,
        }
    }
}
