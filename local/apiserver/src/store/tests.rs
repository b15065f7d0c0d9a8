use super::*;
use serde_json::json;

fn pods() -> Arc<str> {
    "/pods".into()
}

fn pod(name: &str) -> Value {
    json!({"metadata": {"name": name, "namespace": "a"}})
}

#[tokio::test]
async fn acknowledged_writes_survive_reopening() {
    let dir = tempfile::tempdir().unwrap();
    let first = Store::open(dir.path()).unwrap();
    let kept = first.create(&pods(), "a/kept", pod("kept")).await.unwrap();
    let gone = first.create(&pods(), "a/gone", pod("gone")).await.unwrap();
    first.delete(&pods(), "a/gone", gone.version).await.unwrap();
    let last = first.version();
    drop(first);
    // The file's lock is released when the writer thread has seen the hang-up.
    let second = loop {
        match Store::open(dir.path()) {
            Ok(store) => break store,
            Err(_) => tokio::task::yield_now().await,
        }
    };
    assert_eq!(second.get("/pods", "a/kept").unwrap().value, kept.value);
    assert!(second.get("/pods", "a/gone").is_none());
    assert!(second.version() > last);
    assert!(second.watch(&pods(), last).is_none(), "versions from before the restart are gone");
}

#[test]
fn a_file_of_another_format_is_refused_and_left_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("objects.redb");
    let meta = redb::TableDefinition::<'_, &str, &str>::new("meta");
    let write = |format: &str| {
        let database = redb::Database::create(&path).unwrap();
        let transaction = database.begin_write().unwrap();
        transaction.open_table(meta).unwrap().insert("format", format).unwrap();
        transaction.commit().unwrap();
    };
    write("99");
    let refusal = Store::open(dir.path()).err().unwrap().to_string();
    for part in ["objects.redb", "format 99", "--data-dir"] {
        assert!(refusal.contains(part), "{part}: {refusal}");
    }
    let database = redb::Database::open(&path).unwrap();
    let transaction = redb::ReadableDatabase::begin_read(&database).unwrap();
    let format = transaction.open_table(meta).unwrap().get("format").unwrap().unwrap();
    assert_eq!(format.value(), "99");
}

#[tokio::test]
async fn writes_need_the_version_they_were_based_on() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let one = store.create(&pods(), "a/p", pod("p")).await.unwrap();
    assert_eq!(store.create(&pods(), "a/p", pod("p")).await.unwrap_err(), StoreError::Exists);
    let same = store.update(&pods(), "a/p", one.version, pod("p")).await.unwrap();
    assert_eq!(same.version, one.version, "a write that changes nothing is not one");
    let mut changed = pod("p");
    changed["spec"] = json!({"x": 1});
    let two = store.update(&pods(), "a/p", one.version, changed.clone()).await.unwrap();
    assert!(two.version > one.version);
    assert_eq!(store.update(&pods(), "a/p", one.version, changed).await.unwrap_err(), StoreError::Stale);
    assert_eq!(store.delete(&pods(), "a/none", 1).await.unwrap_err(), StoreError::Missing);
}

#[tokio::test]
async fn a_watch_sees_what_came_after_its_version_and_is_refused_when_too_old() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let first = store.create(&pods(), "a/p0", pod("p0")).await.unwrap();
    let second = store.create(&pods(), "a/p1", pod("p1")).await.unwrap();
    let mut watch = store.watch(&pods(), first.version).unwrap();
    assert_eq!(watch.backlog.iter().map(|c| c.version).collect::<Vec<_>>(), [second.version]);
    let third = store.create(&pods(), "a/p2", pod("p2")).await.unwrap();
    assert_eq!(watch.live.recv().await.unwrap().version, third.version);
    for i in 0..HISTORY {
        store.create(&pods(), &format!("a/x{i}"), pod("x")).await.unwrap();
    }
    assert!(store.watch(&pods(), first.version).is_none());
    assert!(store.watch(&pods(), store.version() + 1).is_none());
}
