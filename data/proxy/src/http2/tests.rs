use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::task::Context;
use std::time::Duration;

use h2::Reason;
use h2::server::SendResponse;
use http::{HeaderMap, Method, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use tokio::io::{AsyncReadExt as _, DuplexStream, duplex};
use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinHandle, LocalSet};
use tokio_stream::wrappers::ReceiverStream;

use super::*;
use crate::base::body::BodyError;

type Sent = Result<Frame<Bytes>, BodyError>;
type Server = h2::server::Connection<DuplexStream, Bytes>;

const WINDOWS: (u32, u32) = (65_535, 65_535);

/// A connection, what keeps it open, its task, and the peer's end of it.
async fn connected() -> (SendRequest<Bytes>, oneshot::Sender<()>, JoinHandle<bool>, Server) {
    let (ours, theirs) = duplex(1 << 20);
    let (opened, server) = tokio::join!(open(ours, WINDOWS, None), h2::server::handshake(theirs));
    let (sender, driver) = opened.unwrap();
    let (used, unused) = oneshot::channel();
    let task = tokio::task::spawn_local(async move { driver.run(unused).await.is_ok() });
    (sender, used, task, server.unwrap())
}

fn post(body: Body) -> Request<Body> {
    Request::builder().method(Method::POST).uri("http://a.example/p").body(body).unwrap()
}

fn streamed() -> (mpsc::Sender<Sent>, Body) {
    let (sender, receiver) = mpsc::channel(1);
    (sender, Body::wrap(StreamBody::new(ReceiverStream::new(receiver))))
}

fn data(text: &'static str) -> Sent {
    Ok(Frame::data(Bytes::from_static(text.as_bytes())))
}

/// The next request of a server whose frames are moved meanwhile.
async fn accepted(mut server: Server) -> (Request<h2::RecvStream>, SendResponse<Bytes>, JoinHandle<()>) {
    let (request, respond) = server.accept().await.unwrap().unwrap();
    let task = tokio::task::spawn_local(async move { while server.accept().await.is_some() {} });
    (request, respond, task)
}

async fn all(stream: &mut h2::RecvStream) -> Result<String, h2::Error> {
    let mut bytes = Vec::new();
    while let Some(data) = stream.data().await {
        let data = data?;
        stream.flow_control().release_capacity(data.len())?;
        bytes.extend(data);
    }
    Ok(String::from_utf8(bytes).unwrap())
}

async fn locally(test: impl Future<Output = ()>) {
    LocalSet::new().run_until(test).await;
}

#[tokio::test]
async fn bodies_and_trailers_pass_both_ways() {
    locally(async {
        let (sender, _used, _task, server) = connected().await;
        let mut trailers = HeaderMap::new();
        trailers.insert("x-t", "1".parse().unwrap());
        // More than a window's worth.
        let large = "x".repeat(200_000);
        let frames = [Ok(Frame::data(Bytes::from(large.clone()))), Ok(Frame::trailers(trailers.clone()))];
        let body = Body::wrap(StreamBody::new(tokio_stream::iter(VecDeque::<Sent>::from(frames))));
        let serve = async {
            let (request, mut respond, task) = accepted(server).await;
            let mut stream = request.into_body();
            assert_eq!(all(&mut stream).await.unwrap(), large);
            let seen = stream.trailers().await.unwrap().unwrap();
            let mut send = respond.send_response(Response::new(()), false).unwrap();
            send.send_data(Bytes::from(large.clone()), false).unwrap();
            send.send_trailers(seen).unwrap();
            (task,)
        };
        let (response, _serving) = tokio::join!(answer(sender, post(body)), serve);
        let body = response.unwrap().into_body().collect().await.unwrap();
        assert_eq!(body.trailers(), Some(&trailers));
        assert_eq!(body.to_bytes(), large.as_bytes());
    })
    .await;
}

#[tokio::test]
async fn a_request_goes_on_while_its_response_is_read() {
    locally(async {
        let (sender, _used, _task, server) = connected().await;
        let (request, body) = streamed();
        let serve = async {
            let (seen, mut respond, task) = accepted(server).await;
            let send = respond.send_response(Response::new(()), false).unwrap();
            (seen.into_body(), send, task)
        };
        let (response, (mut seen, mut send, _serving)) = tokio::join!(answer(sender, post(body)), serve);
        request.send(data("late")).await.unwrap();
        drop(request);
        assert_eq!(all(&mut seen).await.unwrap(), "late");
        send.send_data(Bytes::from_static(b"answer"), true).unwrap();
        assert_eq!(response.unwrap().into_body().collect().await.unwrap().to_bytes(), "answer");
    })
    .await;
}

#[tokio::test]
async fn an_early_response_stands_though_the_rest_of_the_request_is_refused() {
    locally(async {
        let (sender, _used, _task, server) = connected().await;
        let (_request, body) = streamed();
        let serve = async {
            // The server lets go of a request that it has answered.
            let (_, mut respond, task) = accepted(server).await;
            let refusal = Response::builder().status(StatusCode::PAYLOAD_TOO_LARGE).body(()).unwrap();
            let mut send = respond.send_response(refusal, false).unwrap();
            send.send_data(Bytes::from_static(b"too large"), true).unwrap();
            (task,)
        };
        let (response, _serving) = tokio::join!(answer(sender, post(body)), serve);
        let response = response.unwrap();
        assert_eq!(response.status(), StatusCode::PAYLOAD_TOO_LARGE);
        assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "too large");
    })
    .await;
}

#[tokio::test]
async fn a_request_that_breaks_off_resets_its_stream() {
    locally(async {
        let (sender, _used, _task, server) = connected().await;
        let (request, body) = streamed();
        let serve = async {
            let (seen, _respond, _serving) = accepted(server).await;
            request.send(data("half")).await.unwrap();
            request.send(Err("gone".into())).await.unwrap();
            all(&mut seen.into_body()).await
        };
        let (response, seen) = tokio::join!(answer(sender, post(body)), serve);
        assert!(matches!(response, Err(Lost::Upload)));
        assert_eq!(seen.unwrap_err().reason(), Some(Reason::CANCEL));
    })
    .await;
}

#[tokio::test]
async fn an_answer_that_nobody_waits_for_any_more_is_reset() {
    locally(async {
        let (sender, _used, _task, server) = connected().await;
        let serve = async {
            let (_seen, mut respond, _serving) = accepted(server).await;
            poll_fn(|cx: &mut Context<'_>| respond.poll_reset(cx)).await.unwrap()
        };
        let ask = tokio::time::timeout(Duration::from_millis(50), answer(sender, post(Body::Empty)));
        let (outcome, reset) = tokio::join!(ask, serve);
        assert!(outcome.is_err());
        assert_eq!(reset, Reason::CANCEL);
    })
    .await;
}

#[tokio::test]
async fn a_connection_ends_when_nobody_can_use_it() {
    locally(async {
        let (sender, used, task, mut server) = connected().await;
        drop(sender);
        drop(used);
        assert!(!matches!(server.accept().await, Some(Ok(_))));
        assert!(task.await.unwrap());
    })
    .await;
}

#[tokio::test]
async fn what_comes_after_goaway_is_unsent() {
    locally(async {
        let (mut sender, _used, _task, mut server) = connected().await;
        server.graceful_shutdown();
        let _closing = tokio::task::spawn_local(async move { while server.accept().await.is_some() {} });
        while poll_fn(|cx| sender.poll_ready(cx)).await.is_ok() {
            tokio::task::yield_now().await;
        }
        assert!(matches!(answer(sender, post(Body::Empty)).await, Err(Lost::Unsent(_))));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_answers_no_ping_is_given_up() {
    locally(async {
        let (ours, mut theirs) = duplex(1 << 20);
        let keep_alive = KeepAlive { interval: Duration::from_secs(10), timeout: Duration::from_secs(5) };
        let (_sender, driver) = open(ours, WINDOWS, Some(keep_alive)).await.unwrap();
        let (_used, unused) = oneshot::channel();
        // It reads all and says nothing.
        let silent = tokio::task::spawn_local(async move {
            let mut seen = Vec::new();
            let _ = theirs.read_to_end(&mut seen).await;
        });
        assert!(Pin::new(&mut Box::pin(driver.run(unused))).await.is_err());
        silent.await.unwrap();
    })
    .await;
}
