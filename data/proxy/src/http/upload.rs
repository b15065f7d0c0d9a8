//! The body of a request on its way upstream, kept (up to a limit) so that another attempt can send it again.

mod messages;

use std::cell::{Cell, RefCell};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::sync::Notify;
use tokio::time::Instant;

pub use self::messages::MessageCounter;
use super::record::Record;
use crate::base::body::{Body, BodyError};

/// The body of a request.
pub struct Upload {
    source: RefCell<Option<Incoming>>,
    size: SizeHint,
    record: Rc<Record>,
    limit: usize,
    kept: RefCell<Kept>,
    trailers: RefCell<Option<HeaderMap>>,
    ended: Cell<Option<Instant>>,
    failed: Cell<bool>,
    end: Notify,
    /// Whether frames are kept at all.
    keep: Cell<bool>,
    grpc: RefCell<Option<MessageCounter>>,
}

#[derive(Default)]
struct Kept {
    frames: Vec<Bytes>,
    bytes: usize,
    /// Frames read so far; more than `frames` once some could not be kept.
    read: usize,
    followers: Vec<Waker>,
}

impl Upload {
    /// Takes over the body of a request; up to `limit` bytes are kept.
    pub fn new(body: Incoming, record: &Rc<Record>, limit: usize, grpc: bool) -> Rc<Self> {
        let empty = body.is_end_stream();
        // Without a body the request ends where it begins.
        let start = record.state.borrow().info.start;
        if empty {
            record.state.borrow_mut().info.timings.request_end = Some(start);
        }
        Rc::new(Self {
            size: if empty { SizeHint::with_exact(0) } else { body.size_hint() },
            source: RefCell::new((!empty).then_some(body)),
            record: record.clone(),
            limit,
            kept: RefCell::default(),
            trailers: RefCell::default(),
            ended: Cell::new(empty.then_some(start)),
            failed: Cell::new(false),
            end: Notify::new(),
            keep: Cell::new(false),
            grpc: RefCell::new(grpc.then(MessageCounter::default)),
        })
    }

    /// Keeps frames from now on, for retries and mirrors.
    pub fn keep(&self) {
        self.keep.set(true);
    }

    /// Nothing will be sent again: what was kept is let go.
    pub fn release(&self) {
        self.keep.set(false);
        self.kept.borrow_mut().frames.clear();
    }

    /// When the request was complete.
    pub fn ended(&self) -> Option<Instant> {
        self.ended.get()
    }

    /// Waits until the request is complete.
    pub async fn complete(&self) -> Instant {
        loop {
            let end = self.end.notified();
            tokio::pin!(end);
            end.as_mut().enable();
            if let Some(at) = self.ended.get() {
                return at;
            }
            end.await;
        }
    }

    /// Whether the body can be sent from its beginning (again).
    pub fn can_replay(&self) -> bool {
        let kept = self.kept.borrow();
        !self.failed.get() && kept.frames.len() == kept.read
    }

    /// Whether the client broke off.
    pub fn failed(&self) -> bool {
        self.failed.get()
    }

    /// The body for an attempt.
    pub fn body(self: &Rc<Self>) -> Body {
        self.reader(false)
    }

    /// The body for a mirror: it follows what an attempt reads.
    pub fn follower(self: &Rc<Self>) -> Body {
        self.reader(true)
    }

    fn reader(self: &Rc<Self>, follower: bool) -> Body {
        if self.size.exact() == Some(0) && self.ended.get().is_some() {
            return Body::Empty;
        }
        Body::wrap(Reader { upload: self.clone(), next: 0, follower, trailers_given: false })
    }

    fn poll_source(&self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let mut source = self.source.borrow_mut();
        let Some(incoming) = source.as_mut() else { return Poll::Ready(None) };
        let polled = ready!(Pin::new(&mut *incoming).poll_frame(cx));
        self.record.touch();
        match polled {
            None => {
                *source = None;
                self.finish();
                Poll::Ready(None)
            }
            Some(Err(error)) => {
                *source = None;
                self.failed.set(true);
                self.wake();
                Poll::Ready(Some(Err(error.into())))
            }
            Some(Ok(frame)) => {
                let last = incoming.is_end_stream();
                let frame = self.take_in(frame);
                if last {
                    *source = None;
                    self.finish();
                }
                Poll::Ready(frame.map(Ok))
            }
        }
    }

    /// Counts and keeps a frame; trailers are stored and given at the end.
    fn take_in(&self, frame: Frame<Bytes>) -> Option<Frame<Bytes>> {
        match frame.into_data() {
            Ok(data) => {
                if let Ok(mut state) = self.record.state.try_borrow_mut() {
                    state.info.bytes.received += data.len() as u64;
                    if let Some(counter) = self.grpc.borrow_mut().as_mut() {
                        state.info.grpc_messages.0 += counter.feed(&data);
                    }
                }
                let mut kept = self.kept.borrow_mut();
                let whole = kept.frames.len() == kept.read;
                kept.read += 1;
                if self.keep.get() && whole && kept.bytes + data.len() <= self.limit {
                    kept.bytes += data.len();
                    kept.frames.push(data.clone());
                } else {
                    kept.frames.clear();
                }
                drop(kept);
                self.wake();
                Some(Frame::data(data))
            }
            Err(frame) => {
                if let Ok(trailers) = frame.into_trailers() {
                    *self.trailers.borrow_mut() = Some(trailers);
                }
                None
            }
        }
    }

    fn finish(&self) {
        let now = Instant::now();
        self.ended.set(Some(now));
        if let Ok(mut state) = self.record.state.try_borrow_mut() {
            state.info.timings.request_end = Some(now);
            state.info.timings.upstream_request_end = Some(now);
        }
        self.end.notify_waiters();
        self.wake();
    }

    fn wake(&self) {
        for waker in self.kept.borrow_mut().followers.drain(..) {
            waker.wake();
        }
    }
}

/// One reading of an [`Upload`].
struct Reader {
    upload: Rc<Upload>,
    next: usize,
    follower: bool,
    trailers_given: bool,
}

impl HttpBody for Reader {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let upload = self.upload.clone();
        loop {
            {
                let mut kept = upload.kept.borrow_mut();
                if let Some(data) = kept.frames.get(self.next) {
                    let frame = Frame::data(data.clone());
                    drop(kept);
                    self.next += 1;
                    return Poll::Ready(Some(Ok(frame)));
                }
                if self.next < kept.read {
                    return Poll::Ready(Some(Err("the request's body is too large to be sent again".into())));
                }
                if upload.failed.get() {
                    return Poll::Ready(Some(Err("the client broke off its request".into())));
                }
                if upload.ended.get().is_none() && self.follower {
                    kept.followers.push(cx.waker().clone());
                    return Poll::Pending;
                }
            }
            if upload.ended.get().is_some() {
                let trailers = if self.trailers_given { None } else { upload.trailers.borrow().clone() };
                self.trailers_given = true;
                return Poll::Ready(trailers.map(|t| Ok(Frame::trailers(t))));
            }
            match ready!(upload.poll_source(cx)) {
                None => {}
                Some(Ok(frame)) => {
                    self.next += 1;
                    return Poll::Ready(Some(Ok(frame)));
                }
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        let upload = &self.upload;
        let read = upload.kept.borrow().read;
        upload.ended.get().is_some()
            && self.next >= read
            && (self.trailers_given || upload.trailers.borrow().is_none())
    }

    fn size_hint(&self) -> SizeHint {
        if self.next == 0 { self.upload.size } else { SizeHint::default() }
    }
}
