//! A connection in the hands of one request.

use std::error::Error as _;
use std::rc::Rc;
use std::sync::Arc;

use http::{Request, Response};
use hyper::body::Incoming;

use super::HostPool;
use super::http1::Http1;
use super::http2::Stream;
use crate::base::body::Body;
use crate::upstream::connect::ConnInfo;

pub(super) enum Sender {
    Http1(Http1),
    Http2(Stream),
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
    /// What went wrong.
    pub error: hyper::Error,
    /// The request never left: sending it again cannot duplicate anything.
    pub unsent: bool,
}

impl SendFailure {
    /// What HTTP/2 says of it.
    pub fn http2(&self) -> Option<&h2::Error> {
        self.error.source()?.downcast_ref()
    }

    /// Whether the peer's GOAWAY left the stream out: it promises that the request was not looked at (RFC 9113, 6.8).
    pub fn is_left_out(&self) -> bool {
        self.http2().is_some_and(|error| error.is_go_away() && error.is_remote())
    }
}

impl Lease {
    pub(super) fn new(pool: &Rc<HostPool>, sender: Sender, reused: bool) -> Self {
        Self { pool: pool.clone(), sender, reused }
    }

    /// Whether the connection served another request before.
    pub fn is_reused(&self) -> bool {
        self.reused
    }

    /// Whether requests are sent as HTTP/2.
    pub fn is_http2(&self) -> bool {
        matches!(self.sender, Sender::Http2(_))
    }

    /// What is known of the connection.
    pub fn info(&self) -> &Arc<ConnInfo> {
        match &self.sender {
            Sender::Http1(conn) => &conn.info,
            Sender::Http2(stream) => &stream.conn.info,
        }
    }

    /// Sends a request and waits for the response's head.
    pub async fn send(&mut self, request: Request<Body>) -> Result<Response<Incoming>, SendFailure> {
        let outcome = match &mut self.sender {
            Sender::Http1(conn) => {
                conn.requests = conn.requests.saturating_add(1);
                conn.sender.try_send_request(request).await
            }
            Sender::Http2(stream) => stream.conn.sender.clone().try_send_request(request).await,
        };
        outcome.map_err(|mut error| {
            let unsent = error.take_message().is_some();
            SendFailure { error: error.into_error(), unsent }
        })
    }

    /// The response is complete: the connection may serve another request.
    pub fn finish(self) {
        if let Sender::Http1(conn) = self.sender {
            self.pool.give_back(conn);
        }
    }
}
