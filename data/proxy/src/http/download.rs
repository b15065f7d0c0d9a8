//! The body of a response on its way to the client: counted, timed, and the end of the exchange.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::Method;
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::time::Instant;

use super::connection::Busy;
use super::record::{Closer, Record};
use super::upload::{MessageCounter, Upload};
use crate::base::body::{Body, BodyError};
use crate::base::patience::Patience;
use crate::failure::Failure;
use crate::telemetry::Flags;
use crate::upstream::breaker::Permit;
use crate::upstream::host::ActiveRequest;
use crate::upstream::pool::Lease;

/// What a response from upstream holds until it is complete.
pub struct Tail {
    /// The connection.
    pub lease: Option<Lease>,
    /// Counts the request at its host.
    pub active: Option<ActiveRequest>,
    /// The circuit breaker's piece.
    pub permit: Option<Permit>,
    /// The request, which may still be on its way.
    pub upload: Rc<Upload>,
    /// From the request's end to the response's end.
    pub timeout: Option<Duration>,
    /// When the stream must be over.
    pub max_end: Option<Instant>,
    /// Counts the request of the cluster.
    pub gauge: super::forward::ClusterRequest,
}

/// The body of a response.
pub struct Download {
    inner: Body,
    tail: Option<Tail>,
    record: Rc<Record>,
    idle: Option<Duration>,
    patience: Patience,
    grpc: Option<MessageCounter>,
    /// The response has no body on the wire (HEAD, 204, 304), whatever it has here.
    bodiless: bool,
    _guards: (Closer, Busy),
}

impl Download {
    /// Wraps a response's body; the exchange is over when it is.
    pub fn new(inner: Body, tail: Option<Tail>, idle: Option<Duration>, guards: (Closer, Busy)) -> Self {
        let record = guards.0.record().clone();
        let grpc = record.state.borrow().info.grpc.then(MessageCounter::default);
        let bodiless = {
            let state = record.state.borrow();
            state.head.method == Method::HEAD || matches!(state.info.response_code, Some(204 | 304))
        };
        Self { inner, tail, record, idle, patience: Patience::default(), grpc, bodiless, _guards: guards }
    }

    /// The earliest moment at which something has to end the stream.
    fn deadline(&self) -> Option<(Instant, Failure)> {
        let tail = self.tail.as_ref();
        let response =
            tail.and_then(|tail| Some((tail.upload.ended()? + tail.timeout?, Failure::ResponseTimeout)));
        let longest = tail.and_then(|tail| Some((tail.max_end?, Failure::MaxStreamDuration)));
        let idle =
            self.idle.map(|t| (self.record.idle_at(t), Failure::StreamIdle { request_complete: true }));
        [response, longest, idle].into_iter().flatten().min_by_key(|(at, _)| *at)
    }

    /// Whether the stream is out of time; is woken when it may be otherwise.
    fn poll_deadline(&mut self, cx: &mut Context<'_>) -> Poll<Failure> {
        let Some((at, failure)) = self.deadline() else { return Poll::Pending };
        self.patience.poll(at, cx).map(|()| failure)
    }

    fn take_in(&mut self, frame: &Frame<Bytes>) {
        let mut state = self.record.state.borrow_mut();
        if let Some(data) = frame.data_ref() {
            state.info.bytes.sent += data.len() as u64;
            if let Some(counter) = &mut self.grpc {
                state.info.grpc_messages.1 += counter.feed(data);
            }
        } else if let Some(trailers) = frame.trailers_ref() {
            state.trailers = Some(trailers.clone());
        }
    }

    /// The response is complete.
    fn complete(&mut self) {
        let now = Instant::now();
        {
            let mut state = self.record.state.borrow_mut();
            if self.tail.is_some() {
                state.info.timings.upstream_response_end = Some(now);
            }
            state.info.timings.response_end = Some(now);
        }
        if let Some(lease) = self.tail.take().and_then(|tail| tail.lease) {
            lease.finish();
        }
        self.record.close();
    }

    /// The response breaks off: its head was sent, so all that is left is a reset.
    fn fail(&mut self, flag: Flags, details: &'static str) {
        self.tail = None;
        {
            let mut state = self.record.state.borrow_mut();
            state.info.flags.set(flag);
            state.info.details = Some(details.into());
        }
        self.record.hcm.stats.downstream_rq_tx_reset().inc();
        self.record.close();
    }
}

impl HttpBody for Download {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        match Pin::new(&mut this.inner).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                this.record.touch();
                this.take_in(&frame);
                if frame.is_trailers() || this.inner.is_end_stream() {
                    this.complete();
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => {
                let details = "upstream_reset_after_response_started{connection_termination}";
                this.fail(Flags::UPSTREAM_CONNECTION_TERMINATION, details);
                Poll::Ready(Some(Err(error)))
            }
            Poll::Ready(None) => {
                this.complete();
                Poll::Ready(None)
            }
            Poll::Pending => match this.poll_deadline(cx) {
                Poll::Pending => Poll::Pending,
                Poll::Ready(failure) => {
                    let outcome = failure.outcome();
                    let details = match outcome.details {
                        std::borrow::Cow::Borrowed(details) => details,
                        std::borrow::Cow::Owned(_) => "response_timeout",
                    };
                    this.fail(outcome.flag, details);
                    Poll::Ready(Some(Err(details.into())))
                }
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl Drop for Download {
    /// hyper does not read a body that it knows to be empty, nor one for HEAD: such a response is complete all the same.
    fn drop(&mut self) {
        if self.bodiless || self.inner.is_end_stream() {
            self.complete();
        }
    }
}
