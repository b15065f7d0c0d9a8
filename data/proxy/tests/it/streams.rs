//! HTTP/2 streams that end before their answer.

use bytes::Bytes;
use http::Request;
use http_body_util::Full;

use crate::harness::*;
use crate::retries::{post, with_retries};

/// What a HTTP/2 server does with the second request of its first connection.
#[derive(Clone, Copy)]
enum Second {
    /// A GOAWAY that leaves the stream out.
    GoAway,
    /// RST_STREAM with this code.
    Reset(u32),
}

/// Speaks just enough HTTP/2, frame by frame; counts the requests that it took.
async fn http2_server(
    second: Second,
) -> (std::net::SocketAddr, std::sync::Arc<std::sync::atomic::AtomicUsize>) {
    use std::sync::atomic::Ordering::SeqCst;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    const SETTINGS: [u8; 9] = [0, 0, 0, 4, 0, 0, 0, 0, 0];
    const ACK: [u8; 9] = [0, 0, 0, 4, 1, 0, 0, 0, 0];
    let taken = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counter = taken.clone();
    let address = raw_server(move |mut stream, number| {
        let counter = counter.clone();
        async move {
            let mut preface = [0; 24];
            stream.read_exact(&mut preface).await.unwrap();
            stream.write_all(&SETTINGS).await.unwrap();
            let mut head = [0; 9];
            while stream.read_exact(&mut head).await.is_ok() {
                let [a, b, c, kind, flags, id @ ..] = head;
                let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
                stream.read_exact(&mut payload).await.unwrap();
                let answer = match (kind, flags & 1) {
                    (4, 0) => ACK.to_vec(),
                    // The end of a request.
                    (0 | 1, 1) if number == 0 && u32::from_be_bytes(id) == 3 => match second {
                        Second::GoAway => [&[0, 0, 8, 7, 0, 0, 0, 0, 0][..], &[0, 0, 0, 1], &[0; 4]].concat(),
                        Second::Reset(code) => {
                            counter.fetch_add(usize::from(code != 7), SeqCst);
                            [&[0, 0, 4, 3, 0][..], &id, &code.to_be_bytes()].concat()
                        }
                    },
                    (0 | 1, 1) => {
                        counter.fetch_add(1, SeqCst);
                        // `:status: 200`, and nothing more.
                        [&[0, 0, 1, 1, 5][..], &id, &[0x88]].concat()
                    }
                    _ => continue,
                };
                stream.write_all(&answer).await.unwrap();
            }
        }
    })
    .await;
    (address, taken)
}

/// Two requests that change something; how the second ended, and how many the server took in all.
async fn second_of_two(second: Second, route: &str) -> (u16, usize) {
    second_of(post(), second, route).await
}

async fn second_of(request: Request<Full<Bytes>>, second: Second, route: &str) -> (u16, usize) {
    let (address, taken) = http2_server(second).await;
    let yaml = bootstrap_of(&[listener(route, "")], &[cluster("app", address, crate::protocols::HTTP2)]);
    // One worker: the second request finds the connection of the first.
    let engine = start_one(&yaml).await;
    let web = engine.listener_address("web").unwrap();
    assert_eq!(send(web, post()).await.status, 200);
    let status = send(web, request).await.status;
    (status, taken.load(std::sync::atomic::Ordering::SeqCst))
}

#[tokio::test]
async fn a_stream_that_goaway_leaves_out_is_sent_again_on_another_connection() {
    let plain = r#"{ match: { prefix: "/" }, route: { cluster: app } }"#;
    assert_eq!(second_of_two(Second::GoAway, plain).await, (200, 2));
}

#[tokio::test]
async fn a_refused_stream_is_sent_again_where_the_policy_says_so_and_a_reset_one_never() {
    const REFUSED: u32 = 7;
    const INTERNAL: u32 = 2;
    let default = with_retries("connect-failure,refused-stream,unavailable,cancelled");
    assert_eq!(second_of_two(Second::Reset(REFUSED), &default).await, (200, 2));
    assert_eq!(second_of_two(Second::Reset(REFUSED), &with_retries("connect-failure")).await, (503, 1));
    assert_eq!(second_of_two(Second::Reset(INTERNAL), &default).await, (503, 2));
    // Nor one that could be repeated: that is for the policy to say.
    assert_eq!(second_of(get("/"), Second::Reset(INTERNAL), &default).await, (503, 2));
}
