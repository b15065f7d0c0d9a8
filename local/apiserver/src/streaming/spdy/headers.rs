//! SPDY/3 header blocks: zlib with a preset dictionary, one state for each direction of a connection.

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};
use std::sync::LazyLock;

/// A header block that grows larger than this is an attack.
const MAX_HEADERS: usize = 64 * 1024;

/// The words of the dictionary that stand with their length before them.
const WORDS: &str = "options head post put delete trace accept accept-charset accept-encoding accept-language accept-ranges \
age allow authorization cache-control connection content-base content-encoding content-language content-length \
content-location content-md5 content-range content-type date etag expect expires from host if-match if-modified-since \
if-none-match if-range if-unmodified-since last-modified location max-forwards pragma proxy-authenticate \
proxy-authorization range referer retry-after server te trailer transfer-encoding upgrade user-agent vary via warning \
www-authenticate method get status 200_OK version HTTP/1.1 url public set-cookie keep-alive origin";

/// The text at the dictionary's end.
const TAIL: &str = "100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505203 \
Non-Authoritative Information204 No Content301 Moved Permanently400 Bad Request401 Unauthorized403 Forbidden404 Not \
Found500 Internal Server Error501 Not Implemented503 Service UnavailableJan Feb Mar Apr May Jun Jul Aug Sept Oct Nov \
Dec 00:00:00 Mon, Tue, Wed, Thu, Fri, Sat, Sun, GMTchunked,text/html,image/png,image/jpg,image/gif,application/xml,\
application/xhtml+xml,text/plain,text/javascript,publicprivatemax-age=gzip,deflate,sdchcharset=utf-8\
charset=iso-8859-1,utf-,*,enq=0.";

/// The dictionary of the SPDY/3 specification.
pub static DICTIONARY: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut out = Vec::with_capacity(1423);
    for word in WORDS.split_whitespace() {
        let word = word.replace('_', " ");
        out.extend_from_slice(&(word.len() as u32).to_be_bytes());
        out.extend_from_slice(word.as_bytes());
    }
    out.extend_from_slice(TAIL.as_bytes());
    out
});

/// A block that cannot be read or written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BadBlock;

/// Names and values.
pub type Headers = Vec<(String, String)>;

/// Reads blocks.
pub struct Decompressor {
    zlib: Decompress,
    primed: bool,
}

impl Decompressor {
    /// The state of a new connection.
    pub fn new() -> Self {
        Decompressor { zlib: Decompress::new(true), primed: false }
    }

    /// Reads the next block.
    pub fn headers(&mut self, block: &[u8]) -> Result<Headers, BadBlock> {
        let plain = self.inflate(block)?;
        let mut rest = plain.as_slice();
        let count = take_number(&mut rest)?;
        let mut out = Vec::new();
        for _ in 0..count {
            out.push((take_text(&mut rest)?, take_text(&mut rest)?));
        }
        Ok(out)
    }

    fn inflate(&mut self, block: &[u8]) -> Result<Vec<u8>, BadBlock> {
        let mut out = Vec::with_capacity(1024);
        let start = self.zlib.total_in();
        loop {
            let used = usize::try_from(self.zlib.total_in() - start).map_err(|_| BadBlock)?;
            let input = block.get(used..).ok_or(BadBlock)?;
            let before = (self.zlib.total_in(), out.len());
            match self.zlib.decompress_vec(input, &mut out, FlushDecompress::Sync) {
                Ok(Status::StreamEnd) => return Err(BadBlock),
                Ok(_) => {}
                // The stream asks for its dictionary once, at its beginning.
                Err(e) if e.needs_dictionary().is_some() && !self.primed => {
                    self.zlib.set_dictionary(&DICTIONARY).map_err(|_| BadBlock)?;
                    self.primed = true;
                    continue;
                }
                Err(_) => return Err(BadBlock),
            }
            if out.len() > MAX_HEADERS {
                return Err(BadBlock);
            }
            let room = out.len() < out.capacity();
            let stuck = (self.zlib.total_in(), out.len()) == before;
            if room && (stuck || self.zlib.total_in() - start == block.len() as u64) {
                return Ok(out);
            }
            out.reserve(4096);
        }
    }
}

fn take_number(rest: &mut &[u8]) -> Result<u32, BadBlock> {
    let (head, tail) = rest.split_at_checked(4).ok_or(BadBlock)?;
    *rest = tail;
    Ok(u32::from_be_bytes(head.try_into().map_err(|_| BadBlock)?))
}

fn take_text(rest: &mut &[u8]) -> Result<String, BadBlock> {
    let length = take_number(rest)? as usize;
    let (head, tail) = rest.split_at_checked(length).ok_or(BadBlock)?;
    *rest = tail;
    String::from_utf8(head.to_vec()).map_err(|_| BadBlock)
}

/// Writes blocks.
pub struct Compressor {
    zlib: Compress,
    primed: bool,
}

impl Compressor {
    /// The state of a new connection.
    pub fn new() -> Self {
        Compressor { zlib: Compress::new(Compression::default(), true), primed: false }
    }

    /// Writes a block.
    pub fn headers(&mut self, headers: &[(&str, &str)]) -> Result<Vec<u8>, BadBlock> {
        if !self.primed {
            self.zlib.set_dictionary(&DICTIONARY).map_err(|_| BadBlock)?;
            self.primed = true;
        }
        let mut plain = (headers.len() as u32).to_be_bytes().to_vec();
        for part in headers.iter().flat_map(|(name, value)| [name, value]) {
            plain.extend_from_slice(&(part.len() as u32).to_be_bytes());
            plain.extend_from_slice(part.as_bytes());
        }
        let mut out = Vec::with_capacity(plain.len() + 128);
        let start = self.zlib.total_in();
        loop {
            let used = usize::try_from(self.zlib.total_in() - start).map_err(|_| BadBlock)?;
            let input = plain.get(used..).ok_or(BadBlock)?;
            self.zlib.compress_vec(input, &mut out, FlushCompress::Sync).map_err(|_| BadBlock)?;
            if self.zlib.total_in() - start == plain.len() as u64 && out.len() < out.capacity() {
                return Ok(out);
            }
            out.reserve(1024);
        }
    }
}
