//! The client's side of HTTP/2: a request opens its stream itself and reads its response from it. What all streams of a connection
//! share (frames, flow control, settings) is `h2`'s.

mod body;
mod drive;
mod upload;

use std::future::poll_fn;
use std::task::Poll;

use bytes::Bytes;
use h2::client::SendRequest;
use http::header::{CONTENT_LENGTH, HeaderValue};
use http::{Request, Response};
use http_body::Body as _;

pub use self::body::Download;
pub use self::drive::{KeepAlive, open};
use self::upload::{Upload, Uploader};
use crate::base::body::Body;

/// Why a request got no response.
#[derive(Debug)]
pub enum Lost {
    /// The stream was not opened.
    Unsent(h2::Error),
    /// The stream or its connection ended.
    Ended(h2::Error),
    /// The request's own body broke off.
    Upload,
}

/// Opens a stream, sends a request on it, and waits for the response's head.
pub async fn answer(mut sender: SendRequest<Bytes>, request: Request<Body>) -> Result<Response<Body>, Lost> {
    poll_fn(|cx| sender.poll_ready(cx)).await.map_err(Lost::Unsent)?;
    let (mut parts, body) = request.into_parts();
    let empty = body.is_end_stream();
    if let Some(length) = body.size_hint().exact().filter(|_| !empty) {
        parts.headers.entry(CONTENT_LENGTH).or_insert_with(|| HeaderValue::from(length));
    }
    let (mut response, stream) =
        sender.send_request(Request::from_parts(parts, ()), empty).map_err(Lost::Unsent)?;
    let mut upload = (!empty).then(|| Upload::new(body, stream));
    let response = poll_fn(|cx| {
        if let Some(sending) = &mut upload
            && let Poll::Ready(whole) = sending.poll(cx)
        {
            upload = None;
            if !whole {
                return Poll::Ready(Err(Lost::Upload));
            }
        }
        std::pin::Pin::new(&mut response).poll(cx).map_err(Lost::Ended)
    })
    .await?;
    // The response may be slow to go on, or its reader: the request must not wait for that.
    let uploader = upload.map(Uploader::spawn);
    Ok(response.map(|stream| Body::wrap(Download::new(stream, uploader))))
}

#[cfg(test)]
mod tests;
