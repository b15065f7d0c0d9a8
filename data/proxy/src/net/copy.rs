//! Copying bytes both ways, counting them as they pass.

use std::cell::Cell;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

const BUFFER: usize = 32 << 10;

/// Bytes that passed so far and when the last ones did.
#[derive(Debug)]
pub struct Progress {
    /// From the client.
    pub received: Cell<u64>,
    /// To the client.
    pub sent: Cell<u64>,
    active: Cell<Instant>,
}

impl Default for Progress {
    fn default() -> Self {
        Self { received: Cell::new(0), sent: Cell::new(0), active: Cell::new(Instant::now()) }
    }
}

impl Progress {
    /// Waits until nothing has passed for that long; for ever without a time-out.
    pub async fn idle(&self, timeout: Option<Duration>) {
        let Some(timeout) = timeout else { return std::future::pending().await };
        loop {
            let at = self.active.get() + timeout;
            if at <= Instant::now() {
                return;
            }
            tokio::time::sleep_until(at).await;
        }
    }

    fn add(&self, counter: &Cell<u64>, bytes: usize) {
        counter.set(counter.get() + bytes as u64);
        self.active.set(Instant::now());
    }
}

/// Copies until both sides have ended. A half-closed side ends the other's writing only.
pub async fn both<A, B>(downstream: &mut A, upstream: &mut B, progress: &Progress) -> io::Result<()>
where
    A: AsyncRead + AsyncWrite + Unpin,
    B: AsyncRead + AsyncWrite + Unpin,
{
    let (mut up, mut down) = (Pump::default(), Pump::default());
    poll_fn(|cx| {
        let there = up.poll(cx, downstream, upstream, |n| progress.add(&progress.received, n))?;
        let back = down.poll(cx, upstream, downstream, |n| progress.add(&progress.sent, n))?;
        ready!(there);
        ready!(back);
        Poll::Ready(Ok(()))
    })
    .await
}

/// One direction.
struct Pump {
    buffer: Box<[u8]>,
    start: usize,
    end: usize,
    ended: bool,
    done: bool,
    dirty: bool,
}

impl Default for Pump {
    fn default() -> Self {
        Self { buffer: vec![0; BUFFER].into(), start: 0, end: 0, ended: false, done: false, dirty: false }
    }
}

impl Pump {
    fn poll<R, W>(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut R,
        to: &mut W,
        count: impl Fn(usize),
    ) -> io::Result<Poll<()>>
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        loop {
            if self.done {
                return Ok(Poll::Ready(()));
            }
            while self.start < self.end {
                match Pin::new(&mut *to).poll_write(cx, &self.buffer[self.start..self.end]) {
                    Poll::Pending => return Ok(Poll::Pending),
                    Poll::Ready(written) => {
                        let written = written?;
                        if written == 0 {
                            return Err(io::ErrorKind::WriteZero.into());
                        }
                        self.start += written;
                        self.dirty = true;
                        count(written);
                    }
                }
            }
            if self.ended {
                if Pin::new(&mut *to).poll_shutdown(cx)?.is_pending() {
                    return Ok(Poll::Pending);
                }
                self.done = true;
                continue;
            }
            let mut read = ReadBuf::new(&mut self.buffer);
            match Pin::new(&mut *from).poll_read(cx, &mut read)? {
                Poll::Ready(()) => {
                    (self.start, self.end) = (0, read.filled().len());
                    self.ended = self.end == 0;
                }
                Poll::Pending => {
                    if self.dirty && Pin::new(&mut *to).poll_flush(cx)?.is_ready() {
                        self.dirty = false;
                    }
                    return Ok(Poll::Pending);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    #[tokio::test]
    async fn a_half_closed_side_still_gets_its_answer() {
        let (mut client, mut downstream) = tokio::io::duplex(64);
        let (mut upstream, mut server) = tokio::io::duplex(64);
        let progress = Progress::default();
        let copying = both(&mut downstream, &mut upstream, &progress);
        let talking = async {
            client.write_all(b"question").await.unwrap();
            client.shutdown().await.unwrap();
            let mut asked = Vec::new();
            server.read_to_end(&mut asked).await.unwrap();
            server.write_all(&asked).await.unwrap();
            drop(server);
            let mut answer = String::new();
            client.read_to_string(&mut answer).await.unwrap();
            answer
        };
        let (copied, answer) = tokio::join!(copying, talking);
        copied.unwrap();
        assert_eq!(answer, "question");
        assert_eq!((progress.received.get(), progress.sent.get()), (8, 8));
    }

    #[tokio::test(start_paused = true)]
    async fn idleness_is_counted_from_the_last_byte() {
        let progress = Progress::default();
        let begin = Instant::now();
        tokio::time::advance(Duration::from_secs(3)).await;
        progress.add(&progress.sent, 1);
        progress.idle(Some(Duration::from_secs(5))).await;
        assert_eq!(begin.elapsed(), Duration::from_secs(8));
    }
}
