//! A response's body, read from its connection as it is asked for.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::Connection;
use crate::base::body::BodyError;

/// The body of the response that a connection is at.
#[derive(Debug)]
pub struct Download(Rc<Connection>);

impl Download {
    pub(super) fn new(connection: &Rc<Connection>) -> Self {
        Self(connection.clone())
    }
}

impl Body for Download {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.0.poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.0.left() == Some(0)
    }

    fn size_hint(&self) -> SizeHint {
        self.0.left().map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}
