//! The body of a request on its way into a stream.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::{Reason, SendStream};
use http_body::Body as _;
use tokio::task::AbortHandle;

use crate::base::body::Body;

/// A body and where it goes.
pub struct Upload {
    body: Body,
    stream: SendStream<Bytes>,
    /// Data that waits for the peer's window, and whether it is the last.
    waiting: Option<(Bytes, bool)>,
}

impl Upload {
    pub(super) fn new(body: Body, stream: SendStream<Bytes>) -> Self {
        Self { body, stream, waiting: None }
    }

    /// Sends what there is; ready when nothing more can or need be sent: false if the body broke off, and the stream with it.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        loop {
            // A peer that does not want the rest says so; whether that is an error the response tells.
            if self.stream.poll_reset(cx).is_ready() {
                return Poll::Ready(true);
            }
            if let Some((data, last)) = self.waiting.take() {
                if self.stream.capacity() == 0 && !data.is_empty() {
                    let polled = self.stream.poll_capacity(cx);
                    self.waiting = Some((data, last));
                    match ready!(polled) {
                        Some(Ok(_)) => continue,
                        Some(Err(_)) | None => return Poll::Ready(true),
                    }
                }
                if self.stream.send_data(data, last).is_err() || last {
                    return Poll::Ready(true);
                }
            }
            if let Some(whole) = ready!(self.poll_body(cx)) {
                return Poll::Ready(whole);
            }
        }
    }

    /// Takes the body's next piece; ready with a value when there is nothing to send after it.
    fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Option<bool>> {
        match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) => {
                    // The window is asked for when there is data: asked for in advance, it would be missing to other streams.
                    self.stream.reserve_capacity(data.len());
                    let last = self.body.is_end_stream();
                    self.waiting = Some((data, last));
                }
                Err(frame) => {
                    let Ok(trailers) = frame.into_trailers() else { return Poll::Ready(None) };
                    self.stream.reserve_capacity(0);
                    // It fails when the stream is over, which the response tells.
                    let _ = self.stream.send_trailers(trailers);
                    return Poll::Ready(Some(true));
                }
            },
            Some(Err(_)) => {
                self.stream.send_reset(Reason::CANCEL);
                return Poll::Ready(Some(false));
            }
            None => self.waiting = Some((Bytes::new(), true)),
        }
        Poll::Ready(None)
    }
}

/// A task that sends the rest of a request, and ends with its response.
#[derive(Debug)]
pub struct Uploader(AbortHandle);

impl Uploader {
    pub(super) fn spawn(mut upload: Upload) -> Self {
        let task = tokio::task::spawn_local(async move {
            poll_fn(|cx| upload.poll(cx)).await;
        });
        Self(task.abort_handle())
    }
}

impl Drop for Uploader {
    fn drop(&mut self) {
        self.0.abort();
    }
}
