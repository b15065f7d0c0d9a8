//! SPDY/3.1, as far as Kubernetes uses it: streams with headers over one connection, opened by the client, without flow
//! control (the client library has none).

pub mod frame;
mod headers;

use super::wire::{Input, Packet};
use bytes::Bytes;
use frame::{Frame, ReadError, read_frame};
use headers::{Compressor, Decompressor};
use std::collections::HashMap;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::sync::mpsc;

/// Streams that may be open at once.
const MAX_STREAMS: usize = 1024;
/// Pieces that may wait for a slow reader; then the whole connection waits.
const QUEUE: usize = 32;

/// A stream that the client opened.
#[derive(Debug)]
pub struct Stream {
    /// Its number, for sending on it.
    pub id: u32,
    /// What the client sends.
    pub input: Input,
    headers: Vec<(String, String)>,
}

impl Stream {
    /// A header's value, or "". Names are lower-case on the wire.
    pub fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(k, _)| k.eq_ignore_ascii_case(name)).map_or("", |(_, v)| v)
    }
}

/// The server's side of a connection.
pub struct Connection {
    streams: mpsc::Receiver<Stream>,
    packets: mpsc::Sender<Packet>,
}

impl Connection {
    /// The next stream that the client opens; `None` when it has gone.
    pub async fn accept(&mut self) -> Option<Stream> {
        self.streams.recv().await
    }

    /// Where to put what is to be sent.
    pub fn packets(&self) -> mpsc::Sender<Packet> {
        self.packets.clone()
    }
}

/// What the writer has to do.
enum Job {
    Packet(Packet),
    Reply(u32),
    Ping(u32),
    Reset(u32),
}

/// Starts serving a connection.
pub fn serve<S: AsyncRead + AsyncWrite + Send + Unpin + 'static>(io: S) -> Connection {
    let (read, write) = tokio::io::split(io);
    let (packets, queue) = mpsc::channel(QUEUE);
    let (control, controls) = mpsc::channel(QUEUE);
    let (accept, streams) = mpsc::channel(QUEUE);
    let writer = tokio::spawn(write_loop(write, queue, controls));
    tokio::spawn(async move {
        let mut reader = Reader { open: HashMap::new(), decompressor: Decompressor::new(), control, accept };
        if let Err(error) = reader.run(read).await {
            tracing::debug!(%error, "SPDY connection ended");
        }
        // The client has gone: whoever still sends must notice.
        writer.abort();
    });
    Connection { streams, packets }
}

struct Reader {
    open: HashMap<u32, mpsc::Sender<Bytes>>,
    decompressor: Decompressor,
    control: mpsc::Sender<Job>,
    accept: mpsc::Sender<Stream>,
}

impl Reader {
    async fn run<S: AsyncRead + Unpin>(&mut self, mut io: ReadHalf<S>) -> Result<(), ReadError> {
        while let Some(frame) = read_frame(&mut io).await? {
            match frame {
                Frame::SynStream { id, fin, block } => self.open(id, fin, &block).await?,
                Frame::Data { id, fin, bytes } => self.data(id, fin, bytes).await,
                Frame::Reset { id } => {
                    self.open.remove(&id);
                }
                Frame::Ping { id } => {
                    let _ = self.control.send(Job::Ping(id)).await;
                }
                // Headers after the first share the compression state, so they must be read even if nobody wants them.
                Frame::Headers { block } => {
                    self.decompressor.headers(&block).map_err(|_| ReadError::BadHeaders)?;
                }
                Frame::GoAway => return Ok(()),
                Frame::Other => {}
            }
        }
        Ok(())
    }

    async fn open(&mut self, id: u32, fin: bool, block: &[u8]) -> Result<(), ReadError> {
        let headers = self.decompressor.headers(block).map_err(|_| ReadError::BadHeaders)?;
        if self.open.len() >= MAX_STREAMS {
            let _ = self.control.send(Job::Reset(id)).await;
            return Ok(());
        }
        let (sender, input) = mpsc::channel(QUEUE);
        if !fin {
            self.open.insert(id, sender);
        }
        let _ = self.control.send(Job::Reply(id)).await;
        let _ = self.accept.send(Stream { id, input, headers }).await;
        Ok(())
    }

    async fn data(&mut self, id: u32, fin: bool, bytes: Bytes) {
        let gone = match self.open.get(&id) {
            Some(stream) if !bytes.is_empty() => stream.send(bytes).await.is_err(),
            _ => false,
        };
        if fin || gone {
            self.open.remove(&id);
        }
    }
}

async fn write_loop<S: AsyncWrite + Unpin>(
    mut io: WriteHalf<S>,
    mut packets: mpsc::Receiver<Packet>,
    mut controls: mpsc::Receiver<Job>,
) {
    let mut compressor = Compressor::new();
    loop {
        let job = tokio::select! {
            biased;
            Some(job) = controls.recv() => job,
            packet = packets.recv() => match packet {
                Some(packet) => Job::Packet(packet),
                None => break,
            },
        };
        let bytes = match job {
            Job::Packet(Packet::Data(id, bytes)) => frame::data(id, &bytes, false),
            Job::Packet(Packet::Fin(id)) => frame::data(id, &[], true),
            Job::Packet(Packet::Close) => break,
            Job::Reply(id) => match compressor.headers(&[]) {
                Ok(block) => frame::syn_reply(id, &block),
                Err(_) => break,
            },
            Job::Ping(id) => frame::ping(id),
            Job::Reset(id) => frame::reset(id),
        };
        if io.write_all(&bytes).await.is_err() || io.flush().await.is_err() {
            return;
        }
    }
    let _ = io.write_all(&frame::go_away()).await;
    let _ = io.shutdown().await;
}

#[cfg(test)]
mod tests;
