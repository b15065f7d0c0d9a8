//! A response's body, read from its stream as it is asked for.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::{Reason, RecvStream};
use http_body::{Body, Frame, SizeHint};

use super::upload::Uploader;
use crate::base::body::BodyError;

/// The body of a response. Dropping it resets what is left of the stream.
#[derive(Debug)]
pub struct Download {
    stream: RecvStream,
    data_done: bool,
    /// What still sends the request.
    _uploader: Option<Uploader>,
}

impl Download {
    pub(super) fn new(stream: RecvStream, uploader: Option<Uploader>) -> Self {
        Self { stream, data_done: false, _uploader: uploader }
    }
}

/// A reset without an error says that the rest of the request is not wanted, not that the response is broken (RFC 9113, 8.1).
fn ended(error: h2::Error) -> Option<Result<Frame<Bytes>, BodyError>> {
    (error.reason() != Some(Reason::NO_ERROR)).then(|| Err(error.into()))
}

impl Body for Download {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        if !this.data_done {
            match ready!(this.stream.poll_data(cx)) {
                Some(Ok(data)) => {
                    // It fails only for more than was received.
                    let _ = this.stream.flow_control().release_capacity(data.len());
                    return Poll::Ready(Some(Ok(Frame::data(data))));
                }
                Some(Err(error)) => return Poll::Ready(ended(error)),
                None => this.data_done = true,
            }
        }
        Poll::Ready(match ready!(this.stream.poll_trailers(cx)) {
            Ok(trailers) => trailers.map(|trailers| Ok(Frame::trailers(trailers))),
            Err(error) => ended(error),
        })
    }

    fn is_end_stream(&self) -> bool {
        self.stream.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        if self.is_end_stream() { SizeHint::with_exact(0) } else { SizeHint::default() }
    }
}
