//! Heads: writing that of a request, reading that of a response.

use bytes::{BufMut, Bytes, BytesMut};
use http::header::{CONNECTION, CONTENT_LENGTH, HOST, HeaderMap, HeaderName, HeaderValue, TRANSFER_ENCODING};
use http::{Method, Response, StatusCode, Version};
use http_body::Body as _;

use super::Malformed;
use super::framing::Length;
use crate::base::outgoing::Outgoing;

/// Largest response head accepted, in bytes.
const LARGEST: usize = 64 << 10;

/// How a request's body is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sending {
    /// There is none.
    Nothing,
    /// So many bytes.
    Exact(u64),
    /// In chunks.
    Chunked,
}

/// Writes a request's head; `None` when it would not be a valid one.
pub fn write(request: &Outgoing<'_>, out: &mut BytesMut) -> Option<Sending> {
    let connect = *request.method == Method::CONNECT;
    let path = match request.path {
        "" => "/",
        path => path.split('#').next().unwrap_or(path),
    };
    let target = if connect { request.authority } else { path };
    if !is_plain(target) || !is_plain(request.authority) {
        return None;
    }
    out.reserve(256 + target.len() + request.headers.len() * 48);
    for part in [request.method.as_str(), " ", target, " HTTP/1.1\r\n"] {
        out.put_slice(part.as_bytes());
    }
    let extra = request.extra.as_ref();
    for (name, value) in request.headers {
        let framed_by_us = *name == TRANSFER_ENCODING || *name == HOST;
        if !framed_by_us && extra.is_none_or(|(replaced, _)| replaced != name) {
            line(out, name, value.as_bytes());
        }
    }
    if let Some((name, value)) = extra {
        line(out, name, value.as_bytes());
    }
    line(out, &HOST, request.authority.as_bytes());
    let sending = if connect { Sending::Nothing } else { framing(request, out)? };
    out.put_slice(b"\r\n");
    Some(sending)
}

/// What can stand in a request's first line without being taken for another part of it.
fn is_plain(text: &str) -> bool {
    text.bytes().all(|byte| byte > b' ' && byte != 0x7f)
}

fn line(out: &mut BytesMut, name: &HeaderName, value: &[u8]) {
    out.put_slice(name.as_str().as_bytes());
    out.put_slice(b": ");
    out.put_slice(value);
    out.put_slice(b"\r\n");
}

fn framing(request: &Outgoing<'_>, out: &mut BytesMut) -> Option<Sending> {
    let declared = content_length(request.headers).ok()?;
    if request.body.is_end_stream() {
        // As Envoy: a method that usually has a body says that it has none.
        let without = [Method::GET, Method::HEAD, Method::DELETE, Method::TRACE];
        if declared.is_none() && !without.contains(request.method) {
            line(out, &CONTENT_LENGTH, b"0");
        }
        return (declared.unwrap_or(0) == 0).then_some(Sending::Nothing);
    }
    if let Some(bytes) = declared {
        return Some(Sending::Exact(bytes));
    }
    if let Some(bytes) = request.body.size_hint().exact() {
        line(out, &CONTENT_LENGTH, itoa::Buffer::new().format(bytes).as_bytes());
        return Some(Sending::Exact(bytes));
    }
    line(out, &TRANSFER_ENCODING, b"chunked");
    Some(Sending::Chunked)
}

/// A response's head.
#[derive(Debug)]
pub struct Head {
    /// Status, version and headers.
    pub response: Response<()>,
    /// Of its body.
    pub length: Length,
    /// Whether another request may follow.
    pub keep_alive: bool,
}

/// Where a header is in what was read.
#[derive(Debug, Clone, Copy)]
pub struct Span {
    name: (usize, usize),
    value: (usize, usize),
}

/// Takes a response's head out of what was read; `None` when it is not complete. `spans` is room that is used again.
pub fn read(
    read: &mut BytesMut,
    method: &Method,
    most_headers: usize,
    spans: &mut Vec<Span>,
) -> Result<Option<Head>, Malformed> {
    let Some((length, status, version)) = locate(read, most_headers, spans)? else {
        return if read.len() > LARGEST { Err(Malformed("head too large")) } else { Ok(None) };
    };
    let bytes = read.split_to(length).freeze();
    let mut headers = HeaderMap::with_capacity(spans.len());
    for span in spans.iter() {
        let name = bytes.get(span.name.0..span.name.1).unwrap_or_default();
        append(&mut headers, name, bytes.slice(span.value.0..span.value.1))?;
    }
    let mut response = Response::new(());
    *response.status_mut() = StatusCode::from_u16(status).map_err(|_| Malformed("status"))?;
    *response.version_mut() = version;
    *response.headers_mut() = headers;
    let length = body_length(&response, method)?;
    let keep_alive = length != Length::UntilClose && stays_open(&response);
    Ok(Some(Head { response, length, keep_alive }))
}

type Located = (usize, u16, Version);

fn locate(read: &[u8], most: usize, spans: &mut Vec<Span>) -> Result<Option<Located>, Malformed> {
    const USUAL: usize = 100;
    if most <= USUAL {
        let mut table = [const { std::mem::MaybeUninit::uninit() }; USUAL];
        locate_in(read, table.get_mut(..most).unwrap_or_default(), spans)
    } else {
        locate_in(read, &mut vec![std::mem::MaybeUninit::uninit(); most], spans)
    }
}

fn locate_in<'b>(
    read: &'b [u8],
    table: &mut [std::mem::MaybeUninit<httparse::Header<'b>>],
    spans: &mut Vec<Span>,
) -> Result<Option<Located>, Malformed> {
    let mut response = httparse::Response::new(&mut []);
    let parsed =
        httparse::ParserConfig::default().parse_response_with_uninit_headers(&mut response, read, table);
    let length = match parsed {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(httparse::Error::TooManyHeaders) => return Err(Malformed("too many headers")),
        Err(_) => return Err(Malformed("head")),
    };
    let at = |part: &[u8]| {
        let begin = part.as_ptr() as usize - read.as_ptr() as usize;
        (begin, begin + part.len())
    };
    spans.clear();
    spans.extend(response.headers.iter().map(|h| Span { name: at(h.name.as_bytes()), value: at(h.value) }));
    let version = if response.version == Some(0) { Version::HTTP_10 } else { Version::HTTP_11 };
    Ok(Some((length, response.code.unwrap_or_default(), version)))
}

/// Adds a header as it was read.
pub fn append(headers: &mut HeaderMap, name: &[u8], value: Bytes) -> Result<(), Malformed> {
    let name = HeaderName::from_bytes(name).map_err(|_| Malformed("header name"))?;
    let value = HeaderValue::from_maybe_shared(value).map_err(|_| Malformed("header value"))?;
    headers.try_append(name, value).map_err(|_| Malformed("too many headers"))?;
    Ok(())
}

fn body_length(response: &Response<()>, method: &Method) -> Result<Length, Malformed> {
    let status = response.status();
    let chunked = is_chunked(response.headers())?;
    let declared = content_length(response.headers())?;
    let tunnel = *method == Method::CONNECT && status.is_success();
    let bodiless = matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    if tunnel || bodiless || *method == Method::HEAD || status.is_informational() {
        return Ok(Length::Exact(0));
    }
    match (chunked, declared) {
        (true, Some(_)) => Err(Malformed("both content-length and transfer-encoding")),
        (true, None) => Ok(Length::Chunked),
        (false, Some(bytes)) => Ok(Length::Exact(bytes)),
        (false, None) => Ok(Length::UntilClose),
    }
}

fn is_chunked(headers: &HeaderMap) -> Result<bool, Malformed> {
    let mut values = headers.get_all(TRANSFER_ENCODING).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(false),
        (Some(only), None) if only.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked") => Ok(true),
        _ => Err(Malformed("transfer-encoding other than chunked")),
    }
}

fn content_length(headers: &HeaderMap) -> Result<Option<u64>, Malformed> {
    let mut found = None;
    for value in headers.get_all(CONTENT_LENGTH) {
        let text = value.as_bytes();
        let digits = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
        let number = std::str::from_utf8(text).ok().filter(|_| digits).and_then(|text| text.parse().ok());
        let number: u64 = number.ok_or(Malformed("content-length"))?;
        if found.is_some_and(|other| other != number) {
            return Err(Malformed("two different values of content-length"));
        }
        found = Some(number);
    }
    Ok(found)
}

fn stays_open(response: &Response<()>) -> bool {
    let mut lists = response.headers().get_all(CONNECTION).iter().peekable();
    let by_default = response.version() == Version::HTTP_11;
    if lists.peek().is_none() {
        return by_default;
    }
    let (mut close, mut keep) = (false, false);
    for word in lists.flat_map(|value| value.as_bytes().split(|&byte| byte == b',')) {
        close |= word.trim_ascii().eq_ignore_ascii_case(b"close");
        keep |= word.trim_ascii().eq_ignore_ascii_case(b"keep-alive");
    }
    !close && (by_default || keep)
}
