//! Where a response's body ends (RFC 9112, 6 and 7).

use bytes::{Buf, Bytes, BytesMut};
use http::HeaderMap;

use super::Malformed;
use super::head::append;

/// Longest line of a chunk's size, and most bytes of chunk extensions in one body.
const LONGEST_LINE: usize = 16 << 10;
/// Largest block of trailers.
const LARGEST_TRAILERS: usize = 64 << 10;
/// Most trailers.
const MOST_TRAILERS: usize = 100;

/// How long a body is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Length {
    /// So many bytes.
    Exact(u64),
    /// Its chunks say.
    Chunked,
    /// All until the peer closes.
    UntilClose,
}

/// Takes a body out of what was read.
#[derive(Debug)]
pub struct Decoder {
    state: State,
    /// Bytes of chunk extensions so far.
    extensions: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Exact(u64),
    UntilClose,
    ChunkSize,
    Chunk(u64),
    ChunkEnd,
    Trailers,
    Done,
}

/// A piece of a body.
#[derive(Debug, PartialEq)]
pub enum Piece {
    /// Some of its bytes.
    Data(Bytes),
    /// What came after the last chunk.
    Trailers(HeaderMap),
    /// More must be read.
    More,
    /// There is no more.
    End,
}

impl Decoder {
    /// For a body of that length.
    pub fn new(length: Length) -> Self {
        let state = match length {
            Length::Exact(0) => State::Done,
            Length::Exact(bytes) => State::Exact(bytes),
            Length::Chunked => State::ChunkSize,
            Length::UntilClose => State::UntilClose,
        };
        Self { state, extensions: 0 }
    }

    /// Whether the body is complete.
    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// How many bytes are left, where that is known.
    pub fn left(&self) -> Option<u64> {
        match self.state {
            State::Exact(bytes) => Some(bytes),
            State::Done => Some(0),
            _ => None,
        }
    }

    /// The peer has closed: whether that is the body's end.
    pub fn close(&mut self) -> bool {
        if self.state == State::UntilClose {
            self.state = State::Done;
        }
        self.is_done()
    }

    /// The next piece of what was read.
    pub fn next(&mut self, read: &mut BytesMut) -> Result<Piece, Malformed> {
        loop {
            match self.state {
                State::Done => return Ok(Piece::End),
                _ if read.is_empty() => return Ok(Piece::More),
                State::UntilClose => return Ok(Piece::Data(read.split().freeze())),
                State::Exact(left) => {
                    let data = take(read, left);
                    let left = left - data.len() as u64;
                    self.state = if left == 0 { State::Done } else { State::Exact(left) };
                    return Ok(Piece::Data(data));
                }
                State::Chunk(left) => {
                    let data = take(read, left);
                    let left = left - data.len() as u64;
                    self.state = if left == 0 { State::ChunkEnd } else { State::Chunk(left) };
                    return Ok(Piece::Data(data));
                }
                State::ChunkSize => match self.chunk_size(read)? {
                    None => return Ok(Piece::More),
                    Some(0) => self.state = State::Trailers,
                    Some(size) => self.state = State::Chunk(size),
                },
                State::ChunkEnd => {
                    if read.len() < 2 {
                        return Ok(Piece::More);
                    }
                    if !read.starts_with(b"\r\n") {
                        return Err(Malformed("a chunk does not end where it says"));
                    }
                    read.advance(2);
                    self.state = State::ChunkSize;
                }
                State::Trailers => {
                    let Some(trailers) = trailers(read)? else { return Ok(Piece::More) };
                    self.state = State::Done;
                    return Ok(if trailers.is_empty() { Piece::End } else { Piece::Trailers(trailers) });
                }
            }
        }
    }

    fn chunk_size(&mut self, read: &mut BytesMut) -> Result<Option<u64>, Malformed> {
        let Some(end) = read.iter().position(|&byte| byte == b'\n') else {
            return if read.len() > LONGEST_LINE { Err(Malformed("chunk size too long")) } else { Ok(None) };
        };
        let line = read.get(..end).and_then(|line| line.strip_suffix(b"\r"));
        let line = line.ok_or(Malformed("the line of a chunk's size must end with CR LF"))?;
        let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
        let (size, rest) = line.split_at(digits);
        let extension = rest.trim_ascii_start();
        if !(extension.is_empty() || extension.starts_with(b";")) {
            return Err(Malformed("chunk size"));
        }
        self.extensions += rest.len();
        if self.extensions > LONGEST_LINE {
            return Err(Malformed("too many chunk extensions"));
        }
        let size = hex(size).ok_or(Malformed("chunk size"))?;
        read.advance(end + 1);
        Ok(Some(size))
    }
}

fn take(read: &mut BytesMut, most: u64) -> Bytes {
    let length = usize::try_from(most).unwrap_or(usize::MAX).min(read.len());
    read.split_to(length).freeze()
}

fn hex(digits: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(digits).ok()?;
    u64::from_str_radix(text, 16).ok()
}

fn trailers(read: &mut BytesMut) -> Result<Option<HeaderMap>, Malformed> {
    if read.starts_with(b"\r\n") {
        read.advance(2);
        return Ok(Some(HeaderMap::new()));
    }
    let mut found = HeaderMap::new();
    let mut table = [httparse::EMPTY_HEADER; MOST_TRAILERS];
    let status = httparse::parse_headers(read, &mut table).map_err(|_| Malformed("trailers"))?;
    let httparse::Status::Complete((length, parsed)) = status else {
        let large = read.len() > LARGEST_TRAILERS;
        return if large { Err(Malformed("trailers too large")) } else { Ok(None) };
    };
    for header in parsed {
        append(&mut found, header.name.as_bytes(), Bytes::copy_from_slice(header.value))?;
    }
    read.advance(length);
    Ok(Some(found))
}
