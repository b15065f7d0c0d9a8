//! One connection: a request out, its response in, and whether it can serve another one.

use std::cell::RefCell;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, Waker, ready};

use bytes::{Bytes, BytesMut};
use http::{Method, Response, StatusCode};
use http_body::{Body as _, Frame};
use tokio::io::AsyncWrite as _;
use tokio::task::AbortHandle;
use tokio_util::io::poll_read_buf;

use super::framing::{Decoder, Length, Piece};
use super::head::{self, Sending, Span};
use super::outbox::Outbox;
use super::{Download, Lost, Malformed};
use crate::base::body::{Body, BodyError};
use crate::base::outgoing::Outgoing;
use crate::net::stream::Rewound;
use crate::tls::maybe::Upstream;

/// What is read at a time, at first; doubled while a peer fills it.
const FIRST_READ: usize = 8 << 10;
/// The most that is read at a time.
const LARGEST_READ: usize = 256 << 10;
/// With less room than that, more is made.
const LEAST_ROOM: usize = 4 << 10;
/// Most informational responses before the one that counts.
const MOST_INFORMATIONAL: u32 = 32;

/// A connection. Those who hold it are the pool or a lease, and the body of the response that is being read.
#[derive(Debug)]
pub struct Connection {
    state: RefCell<State>,
    most_headers: usize,
}

#[derive(Debug)]
struct State {
    io: Upstream,
    read: BytesMut,
    room: usize,
    spans: Vec<Span>,
    out: Outbox,
    /// The request's body, until it is sent.
    upload: Option<(Body, Sending)>,
    /// Sends the rest of the request when its response is there already.
    uploader: Option<Uploader>,
    method: Method,
    download: Decoder,
    /// Some of the request was written.
    touched: bool,
    /// Nothing more can be written.
    deaf: bool,
    keep_alive: bool,
}

/// A task that ends with its connection.
#[derive(Debug)]
struct Uploader(AbortHandle);

impl Drop for Uploader {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Connection {
    /// A connection that has not been used yet.
    pub fn new(io: Upstream, most_headers: usize) -> Rc<Self> {
        let state = State {
            io,
            read: BytesMut::new(),
            room: FIRST_READ,
            spans: Vec::new(),
            out: Outbox::default(),
            upload: None,
            uploader: None,
            method: Method::GET,
            download: Decoder::new(Length::Exact(0)),
            touched: false,
            deaf: false,
            keep_alive: true,
        };
        Rc::new(Self { state: RefCell::new(state), most_headers })
    }

    /// Begins a request; `None` when it cannot be said in HTTP/1.
    pub fn begin(&self, request: Outgoing<'_>) -> Option<()> {
        let state = &mut *self.state.borrow_mut();
        let sending = head::write(&request, &mut state.out.text)?;
        state.method.clone_from(request.method);
        state.upload = (sending != Sending::Nothing).then_some((request.body, sending));
        state.room = FIRST_READ;
        state.touched = false;
        // Until the response says otherwise.
        state.keep_alive = false;
        Some(())
    }

    /// Sends the request that was begun, and waits for its response.
    pub async fn answer(self: &Rc<Self>) -> Result<Response<Body>, Lost> {
        let (head, body) = poll_fn(|cx| self.state.borrow_mut().poll_answer(cx, self.most_headers)).await?;
        let unsent = self.state.borrow().upload.is_some() || !self.state.borrow().out.is_empty();
        if unsent {
            self.send_the_rest();
        }
        Ok(head.map(|()| body.unwrap_or_else(|| Body::wrap(Download::new(self)))))
    }

    /// The response may be slow to go on, or its reader: the request must not wait for that.
    fn send_the_rest(self: &Rc<Self>) {
        let connection: Weak<Self> = Rc::downgrade(self);
        let task = tokio::task::spawn_local(poll_fn(move |cx| match connection.upgrade() {
            Some(connection) => connection.state.borrow_mut().poll_upload(cx).map(|_| ()),
            None => Poll::Ready(()),
        }));
        self.state.borrow_mut().uploader = Some(Uploader(task.abort_handle()));
    }

    pub(super) fn poll_frame(&self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.state.borrow_mut().poll_frame(cx)
    }

    pub(super) fn left(&self) -> Option<u64> {
        self.state.borrow().download.left()
    }

    /// Whether nothing of the request is unsent.
    pub fn is_untouched(&self) -> bool {
        !self.state.borrow().touched
    }

    /// Whether another request may follow: the last one is complete on both sides, and nobody said that it was the last.
    pub fn is_reusable(&self) -> bool {
        let state = self.state.borrow();
        state.keep_alive
            && !state.deaf
            && state.download.is_done()
            && state.upload.is_none()
            && state.out.is_empty()
            && state.read.is_empty()
    }

    /// Whether an idle connection is still there. A peer that says something without being asked is not to be trusted either.
    pub fn is_open(&self) -> bool {
        let state = &mut *self.state.borrow_mut();
        state.poll_read(&mut Context::from_waker(Waker::noop())).is_pending()
    }

    /// Says goodbye, as far as that takes no waiting.
    pub fn close(&self) {
        let state = &mut *self.state.borrow_mut();
        let _ = Pin::new(&mut state.io).poll_shutdown(&mut Context::from_waker(Waker::noop()));
    }

    /// The bytes below, once HTTP has ended on them; `None` while somebody else holds the connection.
    pub fn into_raw(self: Rc<Self>) -> Option<Rewound<Upstream>> {
        let state = Rc::into_inner(self)?.state.into_inner();
        Some(Rewound::new(state.read.freeze(), state.io))
    }
}

/// A response's head, and its body where that is known in full.
type Answer = (Response<()>, Option<Body>);

impl State {
    fn poll_answer(&mut self, cx: &mut Context<'_>, most_headers: usize) -> Poll<Result<Answer, Lost>> {
        // A peer that stops listening may have said why before.
        if let Poll::Ready(Err(Lost::Upload)) = self.poll_upload(cx) {
            return Poll::Ready(Err(Lost::Upload));
        }
        let mut informational = 0;
        loop {
            if !self.read.is_empty()
                && let Some(head) = head::read(&mut self.read, &self.method, most_headers, &mut self.spans)?
            {
                let status = head.response.status();
                if status.is_informational() && status != StatusCode::SWITCHING_PROTOCOLS {
                    informational += 1;
                    if informational > MOST_INFORMATIONAL {
                        return Poll::Ready(Err(Malformed("too many informational responses").into()));
                    }
                    continue;
                }
                return Poll::Ready(Ok(self.accept(head)));
            }
            if ready!(self.poll_read(cx)) == 0 {
                return Poll::Ready(Err(Lost::Closed));
            }
        }
    }

    fn accept(&mut self, head: head::Head) -> Answer {
        let tunnel = self.method == Method::CONNECT && head.response.status().is_success();
        let switching = head.response.status() == StatusCode::SWITCHING_PROTOCOLS;
        self.keep_alive = head.keep_alive && !switching && !tunnel;
        self.download = Decoder::new(head.length);
        let body = match head.length {
            Length::Exact(0) => Some(Body::Empty),
            Length::Exact(bytes) if bytes <= self.read.len() as u64 => {
                match self.download.next(&mut self.read) {
                    Ok(Piece::Data(data)) => Some(Body::Full(data)),
                    _ => None,
                }
            }
            _ => None,
        };
        (head.response, body)
    }

    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        loop {
            match self.download.next(&mut self.read) {
                Ok(Piece::Data(data)) => return Poll::Ready(Some(Ok(Frame::data(data)))),
                Ok(Piece::Trailers(trailers)) => return Poll::Ready(Some(Ok(Frame::trailers(trailers)))),
                Ok(Piece::End) => return Poll::Ready(None),
                Ok(Piece::More) => {}
                Err(malformed) => return Poll::Ready(Some(Err(malformed.into()))),
            }
            if ready!(self.poll_read(cx)) == 0 {
                let complete = self.download.close();
                return Poll::Ready(
                    (!complete).then(|| Err("the connection ended within a response".into())),
                );
            }
        }
    }

    /// Reads more; 0 at the end and on an error, which means the same to a response.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<usize> {
        if self.read.capacity() - self.read.len() < LEAST_ROOM {
            self.read.reserve(self.room);
        }
        let room = self.read.capacity() - self.read.len();
        let count = ready!(poll_read_buf(Pin::new(&mut self.io), cx, &mut self.read)).unwrap_or(0);
        if count == room {
            self.room = (self.room * 2).min(LARGEST_READ);
        }
        Poll::Ready(count)
    }

    /// Sends what there is of the request; ready when that is all of it.
    fn poll_upload(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Lost>> {
        loop {
            let waits = self.fill_outbox(cx)?;
            let idle = self.out.is_empty();
            match ready!(self.out.poll_write(&mut self.io, cx)) {
                Ok(0) if idle && waits => return Poll::Pending,
                Ok(0) if idle => return Poll::Ready(Ok(())),
                Ok(written) => self.touched |= written > 0,
                Err(_) => {
                    self.deaf = true;
                    self.upload = None;
                    self.out.clear();
                    return Poll::Ready(Err(Lost::Closed));
                }
            }
        }
    }

    /// Takes in what the request's body has; answers whether more will come.
    fn fill_outbox(&mut self, cx: &mut Context<'_>) -> Result<bool, Lost> {
        while let Some((body, sending)) = &mut self.upload {
            if !self.out.has_room() {
                return Ok(true);
            }
            let right = match Pin::new(body).poll_frame(cx) {
                Poll::Pending => return Ok(true),
                // Trailers of requests are dropped, as Envoy does unless told otherwise.
                Poll::Ready(Some(Ok(frame))) => {
                    frame.into_data().map_or(true, |data| self.out.push(data, sending))
                }
                Poll::Ready(Some(Err(_))) => false,
                Poll::Ready(None) => {
                    let whole = self.out.end(*sending);
                    self.upload = None;
                    whole
                }
            };
            if !right {
                self.deaf = true;
                self.upload = None;
                self.out.clear();
                return Err(Lost::Upload);
            }
        }
        Ok(false)
    }
}
