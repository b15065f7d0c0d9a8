//! What is to be written, in as few writes as it can be.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use tokio::io::AsyncWrite;

use super::head::Sending;

/// Data up to this size is copied behind what waits already; larger pieces are written from where they are.
const COPIED: usize = 4 << 10;
/// No more is taken in while so much waits.
const FULL: usize = 16 << 10;

/// Bytes that wait to be written: first the `text`, then the `piece`, then the `tail`.
#[derive(Debug, Default)]
pub struct Outbox {
    pub(super) text: BytesMut,
    piece: Bytes,
    tail: &'static [u8],
    unflushed: bool,
}

impl Outbox {
    /// Whether all is written.
    pub fn is_empty(&self) -> bool {
        self.text.is_empty() && self.piece.is_empty() && self.tail.is_empty()
    }

    /// Whether another piece can be taken in.
    pub fn has_room(&self) -> bool {
        self.piece.is_empty() && self.tail.is_empty() && self.text.len() < FULL
    }

    /// Lets all of it go.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// Takes data in, framed. False when there is more than was announced.
    pub fn push(&mut self, data: Bytes, sending: &mut Sending) -> bool {
        match sending {
            Sending::Nothing => return data.is_empty(),
            Sending::Exact(left) => match left.checked_sub(data.len() as u64) {
                Some(rest) => *left = rest,
                None => return false,
            },
            // A chunk without data would be the last one.
            Sending::Chunked if data.is_empty() => return true,
            Sending::Chunked => {
                self.text.put_slice(format!("{:x}\r\n", data.len()).as_bytes());
                self.tail = b"\r\n";
            }
        }
        if data.len() > COPIED {
            self.piece = data;
        } else {
            self.text.put_slice(&data);
            self.text.put_slice(std::mem::take(&mut self.tail));
        }
        true
    }

    /// The body is over. False when something of it is missing.
    pub fn end(&mut self, sending: Sending) -> bool {
        match sending {
            Sending::Chunked => self.text.put_slice(b"0\r\n\r\n"),
            Sending::Nothing | Sending::Exact(0) => {}
            Sending::Exact(_) => return false,
        }
        true
    }

    /// Writes some of it, or flushes when all is written; answers how much was written.
    pub fn poll_write<W: AsyncWrite + Unpin>(
        &mut self,
        io: &mut W,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        if self.is_empty() {
            if self.unflushed {
                ready!(Pin::new(io).poll_flush(cx))?;
                self.unflushed = false;
            }
            return Poll::Ready(Ok(0));
        }
        let written = if self.piece.is_empty() && self.tail.is_empty() {
            ready!(Pin::new(io).poll_write(cx, &self.text))?
        } else {
            let slices = [IoSlice::new(&self.text), IoSlice::new(&self.piece), IoSlice::new(self.tail)];
            let begin = usize::from(self.text.is_empty())
                + usize::from(self.text.is_empty() && self.piece.is_empty());
            ready!(Pin::new(io).poll_write_vectored(cx, slices.get(begin..).unwrap_or_default()))?
        };
        if written == 0 {
            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
        }
        self.unflushed = true;
        self.advance(written);
        Poll::Ready(Ok(written))
    }

    fn advance(&mut self, mut written: usize) {
        let step = written.min(self.text.len());
        self.text.advance(step);
        written -= step;
        let step = written.min(self.piece.len());
        self.piece.advance(step);
        written -= step;
        self.tail = self.tail.get(written..).unwrap_or_default();
    }
}
