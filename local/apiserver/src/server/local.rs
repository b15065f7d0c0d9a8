//! The API as a tower service in this process.

use super::Core;
use crate::auth::InProcess;
use axum::body::Body;
use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::{Request, Response};
use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};

/// Takes requests as the cluster administrator, without TLS or sockets. Clones are cheap.
#[derive(Clone)]
pub struct LocalService {
    core: Arc<Core>,
}

impl LocalService {
    pub(crate) fn new(core: Arc<Core>) -> Self {
        LocalService { core }
    }
}

impl<B> tower::Service<Request<B>> for LocalService
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(InProcess);
        crate::api::handle(self.core.clone(), request).map(Ok).boxed()
    }
}
