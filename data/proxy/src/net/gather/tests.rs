use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::task::LocalSet;

use super::*;

/// Counts the writes that reach the stream below.
struct Counted(DuplexStream, Rc<std::cell::Cell<usize>>);

impl AsyncRead for Counted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Counted {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.1.set(self.1.get() + 1);
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

#[tokio::test]
async fn small_writes_leave_in_one() {
    LocalSet::new()
        .run_until(async {
            let (near, mut far) = duplex(1 << 20);
            let writes = Rc::new(std::cell::Cell::new(0));
            let mut gather = Gather::new(Counted(near, writes.clone()));
            for _ in 0..4 {
                gather.write_all(&[7; 1000]).await.unwrap();
                gather.flush().await.unwrap();
            }
            let mut got = [0; 4000];
            far.read_exact(&mut got).await.unwrap();
            assert_eq!((got, writes.get()), ([7; 4000], 1));
        })
        .await;
}

#[tokio::test]
async fn more_than_the_stream_takes_arrives_in_order_and_the_end_waits_for_it() {
    LocalSet::new()
        .run_until(async {
            let (near, mut far) = duplex(100);
            let sent: Vec<u8> = (0..300_000_u32).map(|n| (n % 251) as u8).collect();
            let expected = sent.clone();
            let writing = tokio::task::spawn_local(async move {
                let mut gather = Gather::new(near);
                for (index, piece) in sent.chunks(9_001).enumerate() {
                    // Small ones between large ones.
                    for part in piece.chunks(if index % 2 == 0 { 9_001 } else { 50 }) {
                        gather.write_all(part).await.unwrap();
                    }
                }
                gather.shutdown().await.unwrap();
            });
            let mut got = Vec::new();
            far.read_to_end(&mut got).await.unwrap();
            writing.await.unwrap();
            assert!(got == expected, "{} bytes of {}", got.len(), expected.len());
        })
        .await;
}

#[tokio::test]
async fn a_broken_stream_is_reported_to_the_codec() {
    LocalSet::new()
        .run_until(async {
            let (near, far) = duplex(100);
            drop(far);
            let mut gather = Gather::new(near);
            gather.write_all(b"x").await.unwrap();
            tokio::task::yield_now().await;
            assert_eq!(gather.write_all(b"y").await.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
            assert!(gather.flush().await.is_err());
        })
        .await;
}

#[tokio::test]
async fn what_was_written_before_the_drop_still_leaves() {
    LocalSet::new()
        .run_until(async {
            let (near, mut far) = duplex(100);
            let mut gather = Gather::new(near);
            gather.write_all(b"goodbye").await.unwrap();
            drop(gather);
            let mut got = Vec::new();
            far.read_to_end(&mut got).await.unwrap();
            assert_eq!(got, b"goodbye");
        })
        .await;
}
