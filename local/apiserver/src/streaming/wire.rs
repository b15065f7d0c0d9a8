//! Streams over one connection, whatever carries them.

use bytes::Bytes;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::sync::{mpsc, watch};

/// How much is read from a process at once.
const CHUNK: usize = 32 * 1024;

/// Something to send on a stream.
#[derive(Debug)]
pub enum Packet {
    /// Bytes.
    Data(u32, Bytes),
    /// Our side of the stream is done.
    Fin(u32),
    /// The connection is done.
    Close,
}

/// The sending half of a stream.
#[derive(Debug, Clone)]
pub struct Output {
    id: u32,
    packets: mpsc::Sender<Packet>,
}

impl Output {
    /// The sending half of stream `id`.
    pub fn new(id: u32, packets: mpsc::Sender<Packet>) -> Self {
        Output { id, packets }
    }

    /// Sends bytes; false when the connection has gone.
    pub async fn send(&self, bytes: Bytes) -> bool {
        self.packets.send(Packet::Data(self.id, bytes)).await.is_ok()
    }

    /// Ends our side.
    pub async fn finish(&self) {
        let _ = self.packets.send(Packet::Fin(self.id)).await;
    }
}

/// The receiving half of a stream; ends when the client ends its side or goes away.
pub type Input = mpsc::Receiver<Bytes>;

/// How long output may still come after the process has ended (something else may hold its pipes open).
const LINGER: Duration = Duration::from_secs(2);

/// Copies from a reader to a stream until either ends, then ends the stream. Once the process has `ended`, a reader that has
/// nothing to give for a while has ended too; a client that takes its time with what there is loses nothing.
pub async fn pump_out(mut from: impl AsyncRead + Unpin, to: Output, mut ended: watch::Receiver<bool>) {
    let mut buffer = vec![0u8; CHUNK];
    loop {
        let quiet = async {
            if ended.wait_for(|ended| *ended).await.is_err() {
                std::future::pending::<()>().await;
            }
            tokio::time::sleep(LINGER).await;
        };
        let read = tokio::select! {
            biased;
            read = from.read(&mut buffer) => read.unwrap_or(0),
            () = quiet => 0,
        };
        if read == 0 {
            break;
        }
        if !to.send(Bytes::copy_from_slice(&buffer[..read])).await {
            return;
        }
    }
    to.finish().await;
}

/// Copies from a stream to a writer until either ends, then shuts the writer down.
pub async fn pump_in(mut from: Input, mut to: impl AsyncWrite + Unpin) {
    while let Some(bytes) = from.recv().await {
        if to.write_all(&bytes).await.is_err() || to.flush().await.is_err() {
            return;
        }
    }
    let _ = to.shutdown().await;
}

/// Bytes that come in pieces, as a reader; together with a writer of pieces, as a connection.
pub struct Pipe {
    input: Input,
    rest: Bytes,
    output: tokio_util::sync::PollSender<Packet>,
    id: u32,
}

impl Pipe {
    /// A connection made of a stream's two halves.
    pub fn new(input: Input, id: u32, packets: mpsc::Sender<Packet>) -> Self {
        Pipe { input, rest: Bytes::new(), output: tokio_util::sync::PollSender::new(packets), id }
    }
}

impl AsyncRead for Pipe {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        while self.rest.is_empty() {
            match ready!(self.input.poll_recv(cx)) {
                Some(bytes) => self.rest = bytes,
                None => return Poll::Ready(Ok(())),
            }
        }
        let n = self.rest.len().min(buf.remaining());
        buf.put_slice(&self.rest.split_to(n));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Pipe {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let gone = || io::Error::from(io::ErrorKind::BrokenPipe);
        ready!(self.output.poll_reserve(cx)).map_err(|_| gone())?;
        let n = buf.len().min(CHUNK);
        let packet = Packet::Data(self.id, Bytes::copy_from_slice(&buf[..n]));
        self.output.send_item(packet).map_err(|_| gone())?;
        Poll::Ready(Ok(n))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if ready!(self.output.poll_reserve(cx)).is_ok() {
            let packet = Packet::Fin(self.id);
            let _ = self.output.send_item(packet);
        }
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_slow_client_loses_nothing_after_the_end() {
        let (packets, mut sent) = mpsc::channel(1);
        let (mut process, from) = tokio::io::duplex(1024 * 1024);
        let all: Vec<u8> = (0..20 * CHUNK).map(|i| u8::try_from(i % 251).unwrap()).collect();
        process.write_all(&all).await.unwrap();
        let (end, ended) = watch::channel(false);
        let pump = tokio::spawn(pump_out(from, Output::new(1, packets), ended));
        end.send_replace(true);
        let mut got = Vec::new();
        // Something else keeps `process`, the other end, open.
        while let Some(Packet::Data(_, bytes)) = sent.recv().await {
            got.extend_from_slice(&bytes);
            tokio::time::sleep(LINGER * 3).await;
        }
        assert!(got == all, "{} of {} bytes", got.len(), all.len());
        pump.await.unwrap();
        drop(process);
    }
}
