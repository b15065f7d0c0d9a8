//! The body type that flows through the engine, in both directions.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;

use crate::{http1, http2};

/// An error while a body is streamed; hyper turns it into a reset of the stream.
pub type BodyError = Box<dyn std::error::Error + Send + Sync>;

/// A body that stays on its worker's thread.
#[derive(Default)]
pub enum Body {
    /// Nothing.
    #[default]
    Empty,
    /// Bytes known in full.
    Full(Bytes),
    /// What a peer is sending to hyper.
    Incoming(Incoming),
    /// What a HTTP/1.1 upstream is sending.
    Http1(http1::Download),
    /// What a HTTP/2 upstream is sending.
    Http2(http2::Download),
    /// A body wrapped by a filter, a time-out or a recorder.
    Wrapped(Pin<Box<dyn HttpBody<Data = Bytes, Error = BodyError>>>),
}

impl Body {
    /// Wraps any body.
    pub fn wrap(body: impl HttpBody<Data = Bytes, Error = BodyError> + 'static) -> Self {
        Self::Wrapped(Box::pin(body))
    }

    /// Text known in full.
    pub fn text(text: impl Into<Bytes>) -> Self {
        let bytes = text.into();
        if bytes.is_empty() { Self::Empty } else { Self::Full(bytes) }
    }
}

impl std::fmt::Debug for Body {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Empty => "Body::Empty",
            Self::Full(_) => "Body::Full",
            Self::Incoming(_) => "Body::Incoming",
            Self::Http1(_) => "Body::Http1",
            Self::Http2(_) => "Body::Http2",
            Self::Wrapped(_) => "Body::Wrapped",
        })
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        match this {
            Self::Empty => Poll::Ready(None),
            Self::Full(bytes) => {
                let bytes = std::mem::take(bytes);
                *this = Self::Empty;
                Poll::Ready(Some(Ok(Frame::data(bytes))))
            }
            Self::Incoming(incoming) => Pin::new(incoming).poll_frame(cx).map_err(Into::into),
            Self::Http1(download) => Pin::new(download).poll_frame(cx),
            Self::Http2(download) => Pin::new(download).poll_frame(cx),
            Self::Wrapped(body) => body.as_mut().poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Full(_) => false,
            Self::Incoming(incoming) => incoming.is_end_stream(),
            Self::Http1(download) => download.is_end_stream(),
            Self::Http2(download) => download.is_end_stream(),
            Self::Wrapped(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Full(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Self::Incoming(incoming) => incoming.size_hint(),
            Self::Http1(download) => download.size_hint(),
            Self::Http2(download) => download.size_hint(),
            Self::Wrapped(body) => body.size_hint(),
        }
    }
}
