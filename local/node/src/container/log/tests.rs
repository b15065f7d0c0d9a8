use super::*;

async fn all(log: &Log, query: Query) -> String {
    let mut receiver = log.read(query);
    let mut text = String::new();
    while let Some(part) = receiver.recv().await {
        text.push_str(std::str::from_utf8(&part.unwrap()).unwrap());
    }
    text
}

async fn sample(dir: &tempfile::TempDir) -> Log {
    let log = Log::create(dir.path().join("0.log")).unwrap();
    pump(b"one\ntwo\nthree".as_slice(), Stream::Out, log.clone()).await;
    log
}

#[tokio::test]
async fn lines_come_back_as_written() {
    let dir = tempfile::tempdir().unwrap();
    let log = sample(&dir).await;
    assert_eq!(all(&log, Query::default()).await, "one\ntwo\nthree");
    assert_eq!(all(&log, Query { tail: Some(2), ..Query::default() }).await, "two\nthree");
    assert_eq!(all(&log, Query { tail: Some(0), ..Query::default() }).await, "");
    assert_eq!(all(&log, Query { limit_bytes: Some(5), ..Query::default() }).await, "one\nt");
    let future = Timestamp::now() + std::time::Duration::from_secs(60);
    assert_eq!(all(&log, Query { since: Some(future), ..Query::default() }).await, "");
}

#[tokio::test]
async fn times_lead_lines_when_asked() {
    let dir = tempfile::tempdir().unwrap();
    let text = all(&sample(&dir).await, Query { timestamps: true, tail: Some(1), ..Query::default() }).await;
    let (time, rest) = text.split_once(' ').unwrap();
    assert!(time.parse::<Timestamp>().is_ok(), "{time}");
    assert_eq!(rest, "three");
}

#[tokio::test]
async fn following_ends_with_the_container() {
    let dir = tempfile::tempdir().unwrap();
    let log = sample(&dir).await;
    let mut receiver = log.read(Query { follow: true, ..Query::default() });
    assert_eq!(receiver.recv().await.unwrap().unwrap(), "one\ntwo\nthree");
    pump(b" four\n".as_slice(), Stream::Err, log.clone()).await;
    assert_eq!(receiver.recv().await.unwrap().unwrap(), " four\n");
    log.end();
    assert!(receiver.recv().await.is_none());
}

#[tokio::test]
async fn a_late_attacher_sees_the_beginning() {
    let dir = tempfile::tempdir().unwrap();
    let (replay, _) = sample(&dir).await.attach();
    assert_eq!(replay, vec![(Stream::Out, Bytes::from_static(b"one\ntwo\nthree"))]);
}

/// Puts 40,000 bytes out in many small pieces.
async fn chatter(log: &Log) -> tokio::task::JoinHandle<()> {
    let (mut program, output) = tokio::io::duplex(16);
    tokio::spawn(async move {
        use tokio::io::AsyncWriteExt;
        program.write_all(&[b'x'; 40_000]).await.unwrap();
    });
    tokio::spawn(pump(output, Stream::Out, log.clone()))
}

#[tokio::test(start_paused = true)]
async fn a_slow_attacher_misses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let log = Log::create(dir.path().join("0.log")).unwrap();
    let (_, mut live) = log.attach();
    let pumped = chatter(&log).await;
    let mut seen = 0;
    while seen < 40_000 {
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
        seen += live.recv().await.unwrap().1.len();
    }
    pumped.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_attacher_that_stands_still_holds_nobody_up() {
    let dir = tempfile::tempdir().unwrap();
    let log = Log::create(dir.path().join("0.log")).unwrap();
    let (_, mut live) = log.attach();
    chatter(&log).await.await.unwrap();
    log.end();
    assert_eq!(all(&log, Query::default()).await.len(), 40_000, "the log is whole");
    // It reads again, and hears what is new.
    while live.try_recv().is_ok() {}
    pump(b"later".as_slice(), Stream::Out, log.clone()).await;
    assert_eq!(live.recv().await.unwrap().1, "later");
}
