//! The way of the proxy's requests to the control plane.

use std::sync::Arc;

use futures_util::StreamExt;
use meltemi_process::metrics::Counter;
use parking_lot::Mutex;
use tokio::sync::mpsc;
use tonic::Streaming;

use super::variant::Variant;
use crate::dns::Names;
use crate::last_good::{Keeper, Stream};

/// What both directions of a stream share.
#[derive(Clone)]
pub(super) struct Passage {
    pub(super) stream: Arc<Mutex<Stream>>,
    pub(super) keeper: Keeper,
    pub(super) requests: Counter,
    pub(super) names: Option<Arc<Names>>,
}

/// Ends when either side does. The table of names is asked for after the first request, which says whose stream it is.
pub(super) async fn forward<V: Variant>(
    mut inbound: Streaming<V::Request>,
    to_istiod: mpsc::Sender<V::Request>,
    passage: Passage,
) {
    let mut own = passage.names.is_some().then(V::ask_names);
    loop {
        let request = tokio::select! {
            request = inbound.next() => request,
            () = to_istiod.closed() => return,
        };
        let Some(Ok(request)) = request else { return };
        passage.requests.inc();
        {
            let mut stream = passage.stream.lock();
            let changed = V::asked(&mut stream, &request);
            passage.keeper.note(&stream, changed);
        }
        for request in [Some(request), own.take()].into_iter().flatten() {
            if to_istiod.send(request).await.is_err() {
                return;
            }
        }
    }
}
