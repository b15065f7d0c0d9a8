//! SPDY/3 frames.

use bytes::{BufMut, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};

/// The largest frame that is read. The format allows 16 MiB; clients send at most 32 KiB at once.
pub const MAX_FRAME: usize = 1024 * 1024;

const CONTROL: u16 = 0x8000;
const VERSION: u16 = 3;
const FIN: u8 = 1;

/// Types of control frames.
mod kind {
    pub const SYN_STREAM: u16 = 1;
    pub const SYN_REPLY: u16 = 2;
    pub const RST_STREAM: u16 = 3;
    pub const PING: u16 = 6;
    pub const GOAWAY: u16 = 7;
    pub const HEADERS: u16 = 8;
}

/// A frame from the client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// Opens a stream.
    SynStream {
        /// The stream's number.
        id: u32,
        /// Whether the client will send nothing.
        fin: bool,
        /// Compressed headers.
        block: Bytes,
    },
    /// Bytes of a stream.
    Data {
        /// The stream's number.
        id: u32,
        /// Whether this is the client's last.
        fin: bool,
        /// The bytes.
        bytes: Bytes,
    },
    /// Ends a stream at once.
    Reset {
        /// The stream's number.
        id: u32,
    },
    /// Asks for the same back.
    Ping {
        /// What to send back.
        id: u32,
    },
    /// More headers (or a reply's): kept for the compression state.
    Headers {
        /// Compressed headers.
        block: Bytes,
    },
    /// The client is leaving.
    GoAway,
    /// Settings, window updates: without meaning here.
    Other,
}

/// Why reading ended.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The connection broke.
    #[error("connection: {0}")]
    Io(#[from] std::io::Error),
    /// A frame larger than [`MAX_FRAME`].
    #[error("a frame of {0} bytes is too large")]
    TooLarge(usize),
    /// A control frame shorter than its type demands, or of another version.
    #[error("malformed frame")]
    Malformed,
    /// A header block that cannot be decompressed.
    #[error("malformed headers")]
    BadHeaders,
}

/// Reads a frame; `None` at the end of the connection.
pub async fn read_frame(io: &mut (impl AsyncRead + Unpin)) -> Result<Option<Frame>, ReadError> {
    let mut head = [0u8; 8];
    match io.read_exact(&mut head).await {
        Ok(_) => {}
        Err(e) if e.kind() == std::io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(e) => return Err(e.into()),
    }
    let length = u32::from_be_bytes([0, head[5], head[6], head[7]]) as usize;
    if length > MAX_FRAME {
        return Err(ReadError::TooLarge(length));
    }
    let mut body = vec![0u8; length];
    io.read_exact(&mut body).await?;
    parse(&head, body.into()).map(Some)
}

fn number(bytes: &[u8]) -> Result<u32, ReadError> {
    let four: [u8; 4] = bytes.get(..4).and_then(|b| b.try_into().ok()).ok_or(ReadError::Malformed)?;
    Ok(u32::from_be_bytes(four) & 0x7fff_ffff)
}

/// Parses a frame from its eight-byte head and its body.
pub fn parse(head: &[u8; 8], body: Bytes) -> Result<Frame, ReadError> {
    let first = u16::from_be_bytes([head[0], head[1]]);
    let fin = head[4] & FIN != 0;
    if first & CONTROL == 0 {
        return Ok(Frame::Data { id: number(head)?, fin, bytes: body });
    }
    if first & !CONTROL != VERSION {
        return Err(ReadError::Malformed);
    }
    let after = |n: usize| if body.len() >= n { Ok(body.slice(n..)) } else { Err(ReadError::Malformed) };
    match u16::from_be_bytes([head[2], head[3]]) {
        kind::SYN_STREAM => Ok(Frame::SynStream { id: number(&body)?, fin, block: after(10)? }),
        kind::SYN_REPLY | kind::HEADERS => Ok(Frame::Headers { block: after(4)? }),
        kind::RST_STREAM => Ok(Frame::Reset { id: number(&body)? }),
        kind::PING => {
            let id: [u8; 4] = body.get(..4).and_then(|b| b.try_into().ok()).ok_or(ReadError::Malformed)?;
            Ok(Frame::Ping { id: u32::from_be_bytes(id) })
        }
        kind::GOAWAY => Ok(Frame::GoAway),
        _ => Ok(Frame::Other),
    }
}

fn control(kind: u16, flags: u8, body: &[&[u8]]) -> BytesMut {
    let length: usize = body.iter().map(|b| b.len()).sum();
    let mut out = BytesMut::with_capacity(8 + length);
    out.put_u16(CONTROL | VERSION);
    out.put_u16(kind);
    out.put_u8(flags);
    out.put_uint(length as u64, 3);
    body.iter().for_each(|b| out.put_slice(b));
    out
}

/// A data frame.
pub fn data(id: u32, bytes: &[u8], fin: bool) -> BytesMut {
    let mut out = BytesMut::with_capacity(8 + bytes.len());
    out.put_u32(id & 0x7fff_ffff);
    out.put_u8(if fin { FIN } else { 0 });
    out.put_uint(bytes.len() as u64, 3);
    out.put_slice(bytes);
    out
}

/// Accepts a stream.
pub fn syn_reply(id: u32, block: &[u8]) -> BytesMut {
    control(kind::SYN_REPLY, 0, &[&id.to_be_bytes(), block])
}

/// Opens a stream (what a client sends).
pub fn syn_stream(id: u32, block: &[u8]) -> BytesMut {
    control(kind::SYN_STREAM, 0, &[&id.to_be_bytes(), &[0; 6], block])
}

/// Answers a ping.
pub fn ping(id: u32) -> BytesMut {
    control(kind::PING, 0, &[&id.to_be_bytes()])
}

/// Refuses a stream.
pub fn reset(id: u32) -> BytesMut {
    const REFUSED_STREAM: u32 = 3;
    control(kind::RST_STREAM, 0, &[&id.to_be_bytes(), &REFUSED_STREAM.to_be_bytes()])
}

/// Says good-bye.
pub fn go_away() -> BytesMut {
    control(kind::GOAWAY, 0, &[&[0; 8]])
}
