use std::collections::VecDeque;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Method, Response, Version};
use http_body::{Body as HttpBody, Frame};
use http_body_util::BodyExt as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
use tokio::task::LocalSet;

use super::framing::{Decoder, Length, Piece};
use super::*;
use crate::base::body::{Body, BodyError};
use crate::base::outgoing::Outgoing;
use crate::net::stream::Stream;
use crate::tls::maybe::Upstream;

/// A body of pieces whose length nobody knows, or one that breaks off.
struct Pieces(VecDeque<Result<&'static str, &'static str>>);

impl HttpBody for Pieces {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        Poll::Ready(self.0.pop_front().map(|piece| match piece {
            Ok(data) => Ok(Frame::data(Bytes::from_static(data.as_bytes()))),
            Err(error) => Err(error.into()),
        }))
    }
}

fn request<'a>(method: &'a Method, headers: &'a HeaderMap, body: Body) -> Outgoing<'a> {
    Outgoing { method, scheme: "http", authority: "a.example", path: "/p?q", headers, extra: None, body }
}

fn headers(list: &[(&'static str, &str)]) -> HeaderMap {
    list.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
}

fn connection() -> (Rc<Connection>, DuplexStream) {
    let (ours, theirs) = duplex(1 << 20);
    (Connection::new(Upstream::Raw(Stream::Duplex(ours)), 100), theirs)
}

/// Sends a request to a peer that says `answer` at once, and closes if `closes`.
async fn asked(
    method: Method,
    answer: &[u8],
    closes: bool,
) -> (Result<Response<Body>, Lost>, Rc<Connection>) {
    let (connection, mut peer) = connection();
    peer.write_all(answer).await.unwrap();
    if closes {
        peer.shutdown().await.unwrap();
    }
    connection.begin(request(&method, &HeaderMap::new(), Body::Empty)).unwrap();
    let answer = connection.answer().await;
    // The peer goes away with this function, after the connection has read all.
    Box::leak(Box::new(peer));
    (answer, connection)
}

async fn body_of(method: Method, answer: &[u8], closes: bool) -> (Result<String, String>, bool) {
    let (response, connection) = asked(method, answer, closes).await;
    let body = response.unwrap().into_body().collect().await;
    let text = body.map(|body| String::from_utf8(body.to_bytes().to_vec()).unwrap());
    (text.map_err(|error| error.to_string()), connection.is_reusable())
}

#[tokio::test]
async fn bodies_end_where_their_framing_says() {
    let table: &[(&str, bool, &str, bool)] = &[
        ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi", false, "hi", true),
        ("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", false, "", true),
        (
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n3;x=y\r\n me\r\n0\r\n\r\n",
            false,
            "hi me",
            true,
        ),
        ("HTTP/1.1 200 OK\r\n\r\nall of it", true, "all of it", false),
        ("HTTP/1.1 204 No Content\r\n\r\n", false, "", true),
        ("HTTP/1.1 304 Not Modified\r\ncontent-length: 7\r\n\r\n", false, "", true),
        ("HTTP/1.1 200 OK\r\nconnection: Close\r\ncontent-length: 2\r\n\r\nhi", false, "hi", false),
        ("HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nhi", false, "hi", false),
        ("HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: 2\r\n\r\nhi", false, "hi", true),
        ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 2\r\n\r\nhi", false, "hi", true),
        (
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 x\r\na: b\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi",
            false,
            "hi",
            true,
        ),
        // What comes after the response was not asked for.
        ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi there", false, "hi", false),
    ];
    for (answer, closes, expected, reusable) in table {
        let found = body_of(Method::GET, answer.as_bytes(), *closes).await;
        assert_eq!(found, (Ok((*expected).to_owned()), *reusable), "{answer}");
    }
    let head = body_of(Method::HEAD, b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n", false).await;
    assert_eq!(head, (Ok(String::new()), true));
}

#[tokio::test]
async fn what_can_be_read_in_two_ways_is_refused() {
    for answer in [
        "nonsense\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\nhi",
        "HTTP/1.1 200 OK\r\ncontent-length: +2\r\n\r\nhi",
        "HTTP/1.1 200 OK\r\ncontent-length: 2, 2\r\n\r\nhi",
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\na : b\r\n\r\n",
        "HTTP/1.1 2000 OK\r\n\r\n",
    ] {
        let (outcome, _) = asked(Method::GET, answer.as_bytes(), false).await;
        assert!(matches!(outcome, Err(Lost::Malformed(_))), "{answer}: {outcome:?}");
    }
    let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "a: b\r\n".repeat(101));
    assert!(matches!(asked(Method::GET, many.as_bytes(), false).await.0, Err(Lost::Malformed(_))));
    let large = format!("HTTP/1.1 200 OK\r\na: {}", "x".repeat(70_000));
    assert!(matches!(asked(Method::GET, large.as_bytes(), false).await.0, Err(Lost::Malformed(_))));
    let endless = "HTTP/1.1 103 x\r\n\r\n".repeat(40);
    assert!(matches!(asked(Method::GET, endless.as_bytes(), false).await.0, Err(Lost::Malformed(_))));
}

#[tokio::test]
async fn a_response_that_breaks_off_is_an_error_and_no_shorter_response() {
    for (answer, complete) in [
        ("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhi", false),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n", false),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n", false),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi!\r\n0\r\n\r\n", false),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0x2\r\nhi\r\n0\r\n\r\n", false),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\nhi\r\n0\r\n\r\n", false),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n11111111111111111\r\nhi\r\n", false),
        ("HTTP/1.1 200 OK\r\n\r\nhi", true),
    ] {
        let (body, reusable) = body_of(Method::GET, answer.as_bytes(), true).await;
        assert_eq!((body.is_ok(), reusable), (complete, false), "{answer}");
    }
    let (nothing, connection) = asked(Method::GET, b"", true).await;
    assert!(matches!(nothing, Err(Lost::Closed)) && !connection.is_open());
}

#[test]
fn a_body_is_the_same_however_it_is_cut() {
    let whole = b"5\r\nhello\r\n6;e\r\n world\r\n0\r\nx-t: 1\r\n\r\n";
    for step in 1..whole.len() {
        let (mut decoder, mut read) = (Decoder::new(Length::Chunked), BytesMut::new());
        let (mut text, mut trailers) = (Vec::new(), None);
        for piece in whole.chunks(step) {
            read.extend_from_slice(piece);
            loop {
                match decoder.next(&mut read).unwrap() {
                    Piece::Data(data) => text.extend(data),
                    Piece::Trailers(found) => trailers = Some(found),
                    Piece::More | Piece::End => break,
                }
            }
        }
        assert!(decoder.is_done() && read.is_empty());
        assert_eq!((text.as_slice(), trailers), (&b"hello world"[..], Some(headers(&[("x-t", "1")]))));
    }
}

/// What a peer reads of a request.
async fn written(method: Method, list: &[(&'static str, &str)], body: Body) -> String {
    let (connection, mut peer) = connection();
    connection.begin(request(&method, &headers(list), body)).unwrap();
    peer.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
    let _ = connection.answer().await;
    drop(connection);
    let mut text = String::new();
    peer.read_to_string(&mut text).await.unwrap();
    text
}

#[tokio::test]
async fn requests_are_framed_by_what_is_known_of_their_body() {
    let pieces = || Body::wrap(Pieces([Ok("ab"), Ok(""), Ok("c")].into()));
    let first = "POST /p?q HTTP/1.1\r\n";
    let host = "host: a.example\r\n";
    assert_eq!(
        written(Method::GET, &[("x-a", "1")], Body::Empty).await,
        format!("GET /p?q HTTP/1.1\r\nx-a: 1\r\n{host}\r\n")
    );
    assert_eq!(
        written(Method::POST, &[], Body::Empty).await,
        format!("{first}{host}content-length: 0\r\n\r\n")
    );
    assert_eq!(
        written(Method::POST, &[], Body::text("abc")).await,
        format!("{first}{host}content-length: 3\r\n\r\nabc")
    );
    assert_eq!(
        written(Method::POST, &[("content-length", "3")], pieces()).await,
        format!("{first}content-length: 3\r\n{host}\r\nabc")
    );
    assert_eq!(
        written(Method::POST, &[("transfer-encoding", "gzip")], pieces()).await,
        format!("{first}{host}transfer-encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n")
    );
    let large = "x".repeat(20_000);
    let chunked = written(
        Method::POST,
        &[],
        Body::wrap(http_body_util::StreamBody::new(tokio_stream::iter([Ok::<_, BodyError>(Frame::data(
            Bytes::from(large.clone()),
        ))]))),
    )
    .await;
    assert!(chunked.ends_with(&format!("\r\n\r\n4e20\r\n{large}\r\n0\r\n\r\n")));
}

#[tokio::test]
async fn a_request_never_ends_early_and_never_says_more_than_it_announced() {
    for (length, pieces) in
        [("2", [Ok("ab"), Ok("c")]), ("4", [Ok("ab"), Ok("c")]), ("4", [Ok("ab"), Err("gone")])]
    {
        let (connection, _peer) = connection();
        let list = headers(&[("content-length", length)]);
        connection.begin(request(&Method::POST, &list, Body::wrap(Pieces(pieces.into())))).unwrap();
        assert!(matches!(connection.answer().await, Err(Lost::Upload)), "{length}");
        assert!(!connection.is_reusable());
    }
}

#[test]
fn what_would_split_a_request_is_not_sent() {
    let (connection, _peer) = connection();
    for (authority, path) in [("a b", "/"), ("a\r\nb", "/"), ("a", "/ HTTP/1.1\r\nx: y"), ("a", "/\u{7f}")] {
        let method = Method::GET;
        let none = HeaderMap::new();
        let request = Outgoing { authority, path, ..request(&method, &none, Body::Empty) };
        assert!(connection.begin(request).is_none(), "{authority} {path}");
    }
}

#[tokio::test]
async fn a_request_goes_on_while_its_response_is_read() {
    LocalSet::new()
        .run_until(async {
            let (connection, mut peer) = connection();
            let (sender, receiver) = tokio::sync::mpsc::channel::<Result<Frame<Bytes>, BodyError>>(1);
            let stream = tokio_stream::wrappers::ReceiverStream::new(receiver);
            let body = Body::wrap(http_body_util::StreamBody::new(stream));
            connection.begin(request(&Method::POST, &HeaderMap::new(), body)).unwrap();
            peer.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nhi").await.unwrap();
            let response = connection.answer().await.unwrap();
            assert_eq!(response.version(), Version::HTTP_11);
            // Nobody reads the response yet.
            sender.send(Ok(Frame::data(Bytes::from_static(b"late")))).await.unwrap();
            drop(sender);
            let mut seen = Vec::new();
            while !seen.ends_with(b"4\r\nlate\r\n0\r\n\r\n") {
                assert_ne!(peer.read_buf(&mut seen).await.unwrap(), 0);
            }
            peer.write_all(b"!!").await.unwrap();
            assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "hi!!");
            assert!(connection.is_reusable() && connection.is_open());
            drop(peer);
            assert!(!connection.is_open());
        })
        .await;
}

#[tokio::test]
async fn after_an_upgrade_the_bytes_are_the_callers() {
    let (response, connection) =
        asked(Method::GET, b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\n\r\nraw", true).await;
    assert_eq!(response.unwrap().status(), 101);
    assert!(!connection.is_reusable());
    let mut text = String::new();
    connection.into_raw().unwrap().read_to_string(&mut text).await.unwrap();
    assert_eq!(text, "raw");
}
