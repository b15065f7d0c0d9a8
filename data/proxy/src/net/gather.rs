//! Small writes that leave together.
//!
//! An HTTP/2 codec writes each DATA frame by itself. Behind [`Gather`] what it writes is kept until everything that is ready to run
//! has run, and then leaves in one call of the system: a write costs more than all that the proxy does with a request.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Bytes that are kept at most; a codec with more to say waits.
const MOST: usize = 64 << 10;
/// A write from this size on is not copied when nothing is kept before it.
const LARGE: usize = 8 << 10;

/// A stream whose small writes leave together. Made and used on one worker.
#[derive(Debug)]
pub struct Gather<S>(Rc<RefCell<Shared<S>>>);

#[derive(Debug)]
struct Shared<S> {
    io: S,
    kept: Vec<u8>,
    /// Bytes of `kept` that have left.
    left: usize,
    /// Something was written since the stream was flushed.
    unflushed: bool,
    /// The codec has given up its end.
    over: bool,
    failed: Option<io::ErrorKind>,
    sender: Option<Waker>,
    codec: Option<Waker>,
}

impl<S: AsyncRead + AsyncWrite + Unpin + 'static> Gather<S> {
    /// Wraps a stream and spawns what sends, on the worker's own thread.
    pub fn new(io: S) -> Self {
        let shared = Rc::new(RefCell::new(Shared {
            io,
            kept: Vec::new(),
            left: 0,
            unflushed: false,
            over: false,
            failed: None,
            sender: None,
            codec: None,
        }));
        let sent = shared.clone();
        tokio::task::spawn_local(poll_fn(move |cx| sent.borrow_mut().poll_send(cx)));
        Self(shared)
    }
}

impl<S: AsyncWrite + Unpin> Shared<S> {
    /// The task that sends: polled when something was kept, when the stream takes more, and at the end.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.sender {
            Some(waker) => waker.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
        if self.unflushed {
            match self.poll_out(cx) {
                Poll::Pending => {}
                Poll::Ready(outcome) => {
                    self.unflushed = false;
                    if let Err(error) = outcome {
                        self.failed = Some(error.kind());
                        self.kept = Vec::new();
                        self.left = 0;
                    }
                    if let Some(codec) = self.codec.take() {
                        codec.wake();
                    }
                }
            }
        }
        if self.over { Poll::Ready(()) } else { Poll::Pending }
    }

    fn poll_out(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.left < self.kept.len() {
            match ready!(Pin::new(&mut self.io).poll_write(cx, &self.kept[self.left..]))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                sent => self.left += sent,
            }
        }
        // An idle connection keeps no buffer.
        self.kept = Vec::new();
        self.left = 0;
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn wake_sender(&mut self) {
        self.unflushed = true;
        if let Some(sender) = &self.sender {
            sender.wake_by_ref();
        }
    }

    fn poll_take(&mut self, cx: &mut Context<'_>, bufs: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        if let Some(kind) = self.failed {
            return Poll::Ready(Err(kind.into()));
        }
        let size: usize = bufs.iter().map(|buf| buf.len()).sum();
        if size >= LARGE && self.kept.is_empty() {
            let polled = Pin::new(&mut self.io).poll_write_vectored(cx, bufs);
            if polled.is_ready() {
                self.wake_sender();
                return polled;
            }
            // From here on only the task that sends waits for the stream: there is one place for a waker.
        }
        let mut room = MOST.saturating_sub(self.kept.len());
        if room == 0 {
            self.codec = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let before = self.kept.len();
        self.kept.reserve(size.min(room));
        for buf in bufs {
            let taken = buf.len().min(room);
            self.kept.extend_from_slice(&buf[..taken]);
            room -= taken;
        }
        if !self.unflushed {
            self.wake_sender();
        }
        Poll::Ready(Ok(self.kept.len() - before))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Gather<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0.borrow_mut().io).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Gather<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.0.borrow_mut().poll_take(cx, &[io::IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.0.borrow_mut().poll_take(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// What was written leaves soon: a flush of the codec does not hurry it.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.0.borrow().failed {
            Some(kind) => Poll::Ready(Err(kind.into())),
            None => Poll::Ready(Ok(())),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut shared = self.0.borrow_mut();
        if shared.unflushed {
            shared.codec = Some(cx.waker().clone());
            return Poll::Pending;
        }
        Pin::new(&mut shared.io).poll_shutdown(cx)
    }
}

impl<S> Drop for Gather<S> {
    fn drop(&mut self) {
        let mut shared = self.0.borrow_mut();
        shared.over = true;
        if let Some(sender) = shared.sender.take() {
            sender.wake();
        }
    }
}

#[cfg(test)]
mod tests;
