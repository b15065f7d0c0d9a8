//! When statuses are written, and when not.

use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, Ordering};

use http::{Request, Response};
use kube::client::Body;
use meltemi_config::AnyObject;
use meltemi_mesh::{Change, Snapshot};
use parking_lot::Mutex;

use super::*;

const ANSWER: &str = r#"{"apiVersion": "v1", "kind": "X", "metadata": {"name": "x"}}"#;

/// An API server that notes what is patched, or fails.
#[derive(Clone, Default)]
struct Api {
    patched: Arc<Mutex<Vec<(String, i64)>>>,
    /// Addresses that were written.
    addresses: Arc<Mutex<Vec<Value>>>,
    broken: Arc<AtomicBool>,
}

impl Api {
    fn client(&self) -> kube::Client {
        let api = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let api = api.clone();
            async move { Ok::<_, Infallible>(api.answer(request).await) }
        });
        kube::Client::new(service, "default")
    }

    async fn answer(&self, request: Request<Body>) -> Response<Body> {
        let path = request.uri().path().to_owned();
        let body = request.into_body().collect_bytes().await.unwrap_or_default();
        if self.broken.load(Ordering::Relaxed) {
            return Response::builder().status(500).body(Body::from(b"{}".to_vec())).unwrap();
        }
        let body: Value = serde_json::from_slice(&body).unwrap();
        let name = path.trim_end_matches("/status").rsplit('/').next().unwrap().to_owned();
        if let Some(addresses) = body["status"].get("addresses") {
            self.addresses.lock().push(addresses.clone());
        }
        let Some(generation) = body["status"]["observedGeneration"].as_i64() else {
            return Response::builder().status(200).body(Body::from(ANSWER.as_bytes().to_vec())).unwrap();
        };
        self.patched.lock().push((name, generation));
        Response::builder().status(200).body(Body::from(ANSWER.as_bytes().to_vec())).unwrap()
    }

    fn taken(&self) -> Vec<(String, i64)> {
        std::mem::take(&mut self.patched.lock())
    }
}

/// A rule for a host that nobody has.
fn rule(uid: &str, generation: i64) -> AnyObject {
    let object = json!({"apiVersion": "networking.istio.io/v1", "kind": "DestinationRule",
        "metadata": {"name": "rule", "namespace": "default", "uid": uid, "generation": generation},
        "spec": {"host": "nobody"}});
    meltemi_config::parse(&object).unwrap()
}

fn writer(api: &Api) -> StatusWriter {
    let mut writer = StatusWriter::new(api.client(), Objects::default(), Arc::default());
    let snapshot = Arc::new(Snapshot::default());
    writer.take(News::Snapshot(Published { version: 1, snapshot }));
    writer
}

#[tokio::test]
async fn a_status_is_written_once_for_each_state_of_an_object() {
    let api = Api::default();
    let mut writer = writer(&api);
    for (uid, generation, expected) in [("a", 1, 1), ("a", 1, 0), ("a", 2, 1), ("b", 1, 1)] {
        writer.objects.apply(&Change::Upsert(rule(uid, generation)));
        assert!(writer.write_all().await);
        assert_eq!(api.taken(), vec![("rule".to_owned(), generation); expected], "{uid} {generation}");
    }
    writer.objects.apply(&Change::Delete(
        meltemi_config::Kind::DestinationRule,
        "default".into(),
        "rule".into(),
    ));
    assert!(writer.write_all().await);
    assert!(api.taken().is_empty() && writer.written.is_empty(), "what is gone is forgotten");
}

#[tokio::test]
async fn what_could_not_be_written_is_written_later() {
    let api = Api::default();
    let mut writer = writer(&api);
    writer.objects.apply(&Change::Upsert(rule("a", 1)));
    api.broken.store(true, Ordering::Relaxed);
    assert!(!writer.write_all().await);
    api.broken.store(false, Ordering::Relaxed);
    assert!(writer.write_all().await);
    assert_eq!(api.taken(), [("rule".to_owned(), 1)]);
}

#[tokio::test]
async fn endpoints_alone_are_no_news() {
    let mut writer = writer(&Api::default());
    assert!(writer.has_news());
    let mut moved = Snapshot::clone(&writer.latest.as_ref().unwrap().snapshot);
    moved.nodes.set("n".to_owned(), Some(Default::default()));
    writer.take(News::Snapshot(Published { version: 2, snapshot: Arc::new(moved) }));
    assert!(!writer.has_news());
    writer.objects.apply(&Change::Upsert(rule("a", 1)));
    assert!(writer.has_news());
}

fn entry(spec: Value, addresses: &[(&str, &str)]) -> AnyObject {
    let addresses: Vec<Value> =
        addresses.iter().map(|(value, host)| json!({"value": value, "host": host})).collect();
    let object = json!({"apiVersion": "networking.istio.io/v1", "kind": "ServiceEntry",
        "metadata": {"name": "outside", "namespace": "default", "uid": "a", "generation": 1},
        "spec": spec, "status": {"addresses": addresses}});
    meltemi_config::parse(&object).unwrap()
}

#[tokio::test]
async fn the_addresses_that_hosts_got_stand_in_the_status() {
    let api = Api::default();
    let mut writer = writer(&api);
    let mut world = meltemi_mesh::World::new(Default::default());
    let spec = json!({"hosts": ["a.example", "B.example"], "resolution": "DNS", "ports": [{"number": 80, "name": "http"}]});
    let mut written = async |object: AnyObject| {
        world.apply(Change::Upsert(object.clone()));
        writer.objects.apply(&Change::Upsert(object));
        writer.take(News::Snapshot(Published { version: 2, snapshot: world.snapshot() }));
        assert!(writer.write_all().await);
        std::mem::take(&mut *api.addresses.lock())
    };
    let all = written(entry(spec.clone(), &[])).await;
    let [first] = &all[..] else { panic!("{all:?}") };
    let hosts: Vec<&str> = first.as_array().unwrap().iter().map(|a| a["host"].as_str().unwrap()).collect();
    assert_eq!(hosts, ["a.example", "B.example"]);
    let values: Vec<&str> = first.as_array().unwrap().iter().map(|a| a["value"].as_str().unwrap()).collect();
    assert!(values.iter().all(|value| value.starts_with("240.240.")) && values[0] != values[1], "{values:?}");
    let same = [(values[0], "a.example"), (values[1], "B.example")];
    assert!(written(entry(spec.clone(), &same)).await.is_empty(), "it is there already");
    let others = [("240.240.1.2", "a.example"), ("240.240.3.4", "B.example")];
    assert!(
        written(entry(spec.clone(), &others)).await.is_empty(),
        "what another control plane gave is kept"
    );
    let mut own = spec.clone();
    own["addresses"] = json!(["10.1.2.3"]);
    assert_eq!(written(entry(own.clone(), &same)).await, [json!([])], "it has addresses of its own now");
    assert!(written(entry(own, &[("198.51.100.1", "a.example")])).await.is_empty(), "not ours");
}
