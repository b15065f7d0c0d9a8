//! `watch`: changes as a stream of JSON lines, with bookmarks and streaming lists.

use super::Call;
use super::read::{Selection, include, presented};
use crate::error::{ApiError, Result};
use crate::object;
use crate::request::View;
use crate::store::{Change, Stored, Subscription};
use crate::table;
use axum::body::Body;
use bytes::Bytes;
use futures_util::Stream;
use http::{HeaderValue, Response, header};
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::Instant;

/// How often a quiet watch with bookmarks hears the current version.
const BOOKMARK_EVERY: Duration = Duration::from_secs(45);
/// A watch without `timeoutSeconds` ends after this long, so that clients spread anew.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(45 * 60);

/// The longest a client may ask a watch to last, in seconds: a year stands for ever.
const LONGEST_TIMEOUT: u64 = 365 * 24 * 3600;

/// Starts a watch.
pub fn handle(call: Call) -> Result<Response<Body>> {
    let selection = Selection::of(&call)?;
    let view = call.view()?;
    let (initial, subscription, sends_initial_end) = match start(&call) {
        Ok(started) => started,
        // As in the real server, a version that is too old is told inside the stream.
        Err(gone) if gone.code == http::StatusCode::GONE => {
            let event = line(&json!({"type": "ERROR", "object": gone.to_status()}));
            return Ok(response(futures_util::stream::iter([Ok(event)])));
        }
        Err(error) => return Err(error),
    };
    let timeout = call.query.get("timeoutSeconds").parse().ok().filter(|s| *s > 0);
    let timeout = timeout.map(|seconds: u64| seconds.min(LONGEST_TIMEOUT));
    let deadline = Instant::now() + timeout.map_or(DEFAULT_TIMEOUT, Duration::from_secs);
    let bookmarks = call.query.flag("allowWatchBookmarks");
    let mut watch = Watch {
        pending: VecDeque::new(),
        subscription,
        selection,
        view,
        deadline,
        bookmarks,
        columns_sent: false,
        ended: false,
        call,
    };
    watch.queue_initial(&initial, sends_initial_end);
    let stream = futures_util::stream::unfold(watch, |mut watch| async move {
        let line = watch.next().await?;
        Some((Ok::<_, std::convert::Infallible>(line), watch))
    });
    Ok(response(stream))
}

fn response(
    stream: impl Stream<Item = std::result::Result<Bytes, std::convert::Infallible>> + Send + 'static,
) -> Response<Body> {
    let mut response = Response::new(Body::from_stream(stream));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
    response
}

type Initial = Vec<Arc<Stored>>;

/// Objects to send first, the changes after them, and the version of the end-of-list bookmark if one was asked for.
fn start(call: &Call) -> Result<(Initial, Subscription, Option<u64>)> {
    let query = &call.query;
    let store = &call.core.store;
    let storage = &call.resource.storage;
    let streaming = query.flag("sendInitialEvents") && !query.get("sendInitialEvents").is_empty();
    if streaming && query.get("resourceVersionMatch") != "NotOlderThan" {
        let error = crate::error::FieldError::forbidden(
            "resourceVersionMatch",
            "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan",
        );
        return Err(ApiError::invalid("ListOptions", "meta.k8s.io", "", &[error]));
    }
    let version = query.get("resourceVersion");
    let after = match version {
        "" | "0" => None,
        v => Some(
            v.parse::<u64>().map_err(|_| ApiError::bad_request(format!("invalid resource version {v:?}")))?,
        ),
    };
    if streaming || after.is_none() {
        let prefix =
            if call.path.namespace.is_empty() { String::new() } else { format!("{}/", call.path.namespace) };
        let (listing, subscription) = store.list_and_watch(storage, &prefix);
        let items = listing.items.into_iter().map(|(_, s)| s).collect();
        let explicitly_none = query.get("sendInitialEvents") == "false";
        let items = if explicitly_none { Vec::new() } else { items };
        return Ok((items, subscription, streaming.then_some(listing.version)));
    }
    let after = after.unwrap_or_default();
    let subscription = store.watch(storage, after).ok_or_else(|| {
        ApiError::expired(format!("too old resource version: {after} ({})", store.version()))
    })?;
    Ok((Vec::new(), subscription, None))
}

struct Watch {
    call: Call,
    pending: VecDeque<Bytes>,
    subscription: Subscription,
    selection: Selection,
    view: View,
    deadline: Instant,
    bookmarks: bool,
    columns_sent: bool,
    ended: bool,
}

impl Watch {
    fn queue_initial(&mut self, initial: &[Arc<Stored>], end: Option<u64>) {
        for stored in initial {
            if self.in_scope(&stored.value) && self.selection.matches(&stored.value) {
                self.queue("ADDED", stored);
            }
        }
        if let Some(version) = end.filter(|_| self.bookmarks) {
            let line = self.bookmark(version, true);
            self.pending.push_back(line);
        }
        let backlog = std::mem::take(&mut self.subscription.backlog);
        for change in backlog {
            self.take(&change);
        }
    }

    fn in_scope(&self, value: &Value) -> bool {
        self.call.path.namespace.is_empty() || object::namespace(value) == self.call.path.namespace
    }

    /// The next line; `None` at the end.
    async fn next(&mut self) -> Option<Bytes> {
        let mut quiet_until = Instant::now() + BOOKMARK_EVERY;
        loop {
            if let Some(line) = self.pending.pop_front() {
                return Some(line);
            }
            if self.ended {
                return None;
            }
            let shutdown = self.call.core.shutdown.clone();
            tokio::select! {
                biased;
                received = self.subscription.live.recv() => match received {
                    Ok(change) => self.take(&change),
                    Err(RecvError::Lagged(_)) => {
                        self.ended = true;
                        let gone = ApiError::expired("too old resource version: the watch fell too far behind");
                        return Some(line(&json!({"type": "ERROR", "object": gone.to_status()})));
                    }
                    Err(RecvError::Closed) => return None,
                },
                () = tokio::time::sleep_until(self.deadline) => return None,
                () = tokio::time::sleep_until(quiet_until), if self.bookmarks => {
                    quiet_until = Instant::now() + BOOKMARK_EVERY;
                    // Read the version before looking whether all changes up to it have been taken.
                    let version = self.call.core.store.version();
                    if self.subscription.live.is_empty() {
                        let line = self.bookmark(version, false);
                        self.pending.push_back(line);
                    }
                }
                () = shutdown.cancelled() => return None,
            }
        }
    }

    /// A change as this watch sees it: an object may enter or leave the selection.
    fn take(&mut self, change: &Change) {
        if !self.in_scope(&change.object.value) {
            return;
        }
        let now = !change.deleted && self.selection.matches(&change.object.value);
        let before = change.previous.as_ref().is_some_and(|p| self.selection.matches(&p.value));
        match (before, now) {
            (false, true) => self.queue("ADDED", &change.object),
            (true, true) => self.queue("MODIFIED", &change.object),
            (true, false) if change.deleted => self.queue("DELETED", &change.object),
            (true, false) => self.queue_left(change),
            (false, false) => {}
        }
    }

    /// Leaving the selection shows the object as it was, at the version of the change.
    fn queue_left(&mut self, change: &Change) {
        let Some(previous) = &change.previous else { return };
        let mut value = previous.value.clone();
        object::meta_mut(&mut value).insert("resourceVersion".into(), change.version.to_string().into());
        let json = serde_json::to_vec(&value).unwrap_or_default().into();
        self.queue("DELETED", &Stored { value, json, version: change.version });
    }

    fn queue(&mut self, kind: &str, stored: &Stored) {
        let resource = &self.call.resource;
        let line = match self.view {
            View::Full => match resource.present(&stored.value) {
                None => raw_line(kind, &stored.json),
                Some(value) => raw_line(kind, value.to_string().as_bytes()),
            },
            View::Metadata => {
                line(&json!({"type": kind, "object": table::partial(&presented(resource, stored))}))
            }
            View::Table => {
                let row = table::row(resource, &presented(resource, stored), include(&self.call));
                let meta = json!({ "resourceVersion": stored.version.to_string() });
                let object = table::table(resource, vec![row], meta, !self.columns_sent);
                self.columns_sent = true;
                line(&json!({"type": kind, "object": object}))
            }
        };
        self.pending.push_back(line);
    }

    fn bookmark(&self, version: u64, end_of_list: bool) -> Bytes {
        let mut meta = json!({"resourceVersion": version.to_string(), "creationTimestamp": null});
        if end_of_list {
            meta["annotations"] = json!({"k8s.io/initial-events-end": "true"});
        }
        let resource = &self.call.resource;
        let object = match self.view {
            View::Full => {
                json!({"kind": resource.kind, "apiVersion": resource.api_version(), "metadata": meta})
            }
            View::Metadata => {
                json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": meta})
            }
            View::Table => {
                let own =
                    json!({"kind": resource.kind, "apiVersion": resource.api_version(), "metadata": meta});
                let row = json!({"cells": [], "object": table::partial(&own)});
                table::table(
                    resource,
                    vec![row],
                    json!({ "resourceVersion": version.to_string() }),
                    !self.columns_sent,
                )
            }
        };
        line(&json!({"type": "BOOKMARK", "object": object}))
    }
}

fn line(value: &Value) -> Bytes {
    let mut text = value.to_string();
    text.push('\n');
    text.into()
}

fn raw_line(kind: &str, json: &[u8]) -> Bytes {
    let mut out = Vec::with_capacity(json.len() + 40);
    out.extend_from_slice(format!("{{\"type\":\"{kind}\",\"object\":").as_bytes());
    out.extend_from_slice(json);
    out.extend_from_slice(b"}\n");
    out.into()
}
