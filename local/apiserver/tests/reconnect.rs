//! Clients that lose their connection, come too late, or read in pages: none of them may miss or invent an object.

#![allow(clippy::unwrap_used)]

mod support;

use futures_util::stream::BoxStream;
use futures_util::{StreamExt, TryStreamExt};
use http_body_util::{BodyStream, StreamBody};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::runtime::watcher::{self, Event};
use kube::runtime::{WatchStreamExt, watcher as watch};
use kube::{Client, ResourceExt};
use serde_json::json;
use std::collections::BTreeMap;
use support::{Cluster, config_map};
use tower::ServiceExt;

/// More changes than the server remembers.
const MANY: usize = 2200;

/// What a client of the watcher believes there is.
#[derive(Default)]
struct Mirror {
    objects: BTreeMap<String, String>,
    arriving: BTreeMap<String, String>,
    lists: usize,
}

impl Mirror {
    fn take(&mut self, event: Event<ConfigMap>) {
        let entry = |map: ConfigMap| {
            let value = map.data.clone().unwrap_or_default().remove("k").unwrap_or_default();
            (map.name_any(), value)
        };
        match event {
            Event::Init => self.arriving.clear(),
            Event::InitApply(map) => self.arriving.extend([entry(map)]),
            Event::InitDone => {
                self.objects = std::mem::take(&mut self.arriving);
                self.lists += 1;
            }
            Event::Apply(map) => self.objects.extend([entry(map)]),
            Event::Delete(map) => {
                self.objects.remove(&map.name_any());
            }
        }
    }

    /// Reads events until the object `name` has the value `value`.
    async fn until(&mut self, events: &mut Events, name: &str, value: &str) {
        while self.objects.get(name).map(String::as_str) != Some(value) {
            // Errors are what is tested: the next event comes after them.
            if let Ok(event) = events.next().await.unwrap() {
                self.take(event);
            }
        }
    }
}

type Events = BoxStream<'static, Result<Event<ConfigMap>, watcher::Error>>;

fn events(client: Client, config: watcher::Config) -> Events {
    watch(Api::<ConfigMap>::default_namespaced(client), config).default_backoff().boxed()
}

/// A client whose answers break off after two parts: a list is one part, a watch has one for each event.
fn breaking(cluster: &Cluster) -> Client {
    type Request = http::Request<kube::client::Body>;
    let cut = |response: http::Response<axum::body::Body>| {
        response.map(|body| StreamBody::new(BodyStream::new(body).take(2)))
    };
    Client::new(ServiceExt::<Request>::map_response(cluster.own().local_service(), cut), "default")
}

async fn truth(api: &Api<ConfigMap>) -> BTreeMap<String, String> {
    let list = api.list(&ListParams::default()).await.unwrap();
    list.items
        .into_iter()
        .map(|m| (m.name_any(), m.data.unwrap_or_default().remove("k").unwrap_or_default()))
        .collect()
}

#[tokio::test]
async fn a_watcher_that_is_cut_off_again_and_again_misses_nothing() {
    let cluster = Cluster::start().await;
    let api: Api<ConfigMap> = cluster.api();
    let mut events = events(breaking(&cluster), watcher::Config::default());
    let mut mirror = Mirror::default();
    api.create(&PostParams::default(), &config_map("a", "0")).await.unwrap();
    mirror.until(&mut events, "a", "0").await;
    for round in 1..6 {
        api.create(&PostParams::default(), &config_map(&format!("b{round}"), "x")).await.unwrap();
        api.delete(&format!("b{}", round - 1), &DeleteParams::default()).await.ok();
        let change = Patch::Merge(json!({"data": {"k": round.to_string()}}));
        api.patch("a", &PatchParams::default(), &change).await.unwrap();
    }
    mirror.until(&mut events, "a", "5").await;
    assert_eq!(mirror.objects, truth(&api).await);
    assert_eq!(mirror.lists, 1, "what was missed came from the watch, without another list");
}

async fn overwhelm(api: &Api<ConfigMap>, many: usize) {
    let writes = (0..many).map(|n| async move {
        let map = config_map(&format!("n{n}"), "x");
        api.create(&PostParams::default(), &map).await.map(|_| ())
    });
    futures_util::stream::iter(writes).buffer_unordered(64).try_collect::<()>().await.unwrap();
}

#[tokio::test]
async fn a_watcher_that_fell_too_far_behind_lists_anew() {
    for config in [watcher::Config::default(), watcher::Config::default().streaming_lists()] {
        let cluster = Cluster::start().await;
        let api: Api<ConfigMap> = cluster.api();
        let mut events = events(cluster.client.clone(), config);
        let mut mirror = Mirror::default();
        api.create(&PostParams::default(), &config_map("a", "0")).await.unwrap();
        mirror.until(&mut events, "a", "0").await;
        overwhelm(&api, MANY).await;
        api.patch("a", &PatchParams::default(), &Patch::Merge(json!({"data": {"k": "last"}}))).await.unwrap();
        mirror.until(&mut events, "a", "last").await;
        assert_eq!(mirror.objects, truth(&api).await);
        assert_eq!(mirror.lists, 2, "410 Gone, then a list");
    }
}

#[tokio::test]
async fn pages_show_one_moment_and_a_token_that_is_too_old_is_gone() {
    let cluster = Cluster::start().await;
    let api: Api<ConfigMap> = cluster.api();
    for name in ["a", "b", "c", "d"] {
        api.create(&PostParams::default(), &config_map(name, "1")).await.unwrap();
    }
    let page = |token: Option<String>| {
        let api = api.clone();
        async move { api.list(&ListParams { continue_token: token, ..ListParams::default().limit(1) }).await }
    };
    let names = |list: &kube::core::ObjectList<ConfigMap>| -> Vec<String> {
        list.items
            .iter()
            .map(|m| format!("{}={}", m.name_any(), m.data.clone().unwrap_or_default()["k"]))
            .collect()
    };
    let first = page(None).await.unwrap();
    assert_eq!(first.metadata.remaining_item_count, Some(4), "with kube-root-ca.crt");
    api.delete("b", &DeleteParams::default()).await.unwrap();
    api.create(&PostParams::default(), &config_map("bb", "1")).await.unwrap();
    api.patch("c", &PatchParams::default(), &Patch::Merge(json!({"data": {"k": "2"}}))).await.unwrap();
    let second = page(first.metadata.continue_.clone()).await.unwrap();
    let third = page(second.metadata.continue_.clone()).await.unwrap();
    assert_eq!((names(&second), names(&third)), (vec!["b=1".to_owned()], vec!["c=1".to_owned()]));
    overwhelm(&api, 5000).await;
    let Err(kube::Error::Api(gone)) = page(first.metadata.continue_).await else { panic!("410 is due") };
    assert_eq!((gone.code, gone.reason.as_str()), (410, "Expired"));
    let token = gone.metadata.clone().and_then(|meta| meta.continue_);
    assert_eq!(names(&page(token).await.unwrap()), ["bb=1"], "goes on with what there is now");
    // All of them, as `kubectl get` reads them: 500 at a time.
    let (mut names, mut token, mut pages) = (Vec::new(), None, 0);
    loop {
        let params = ListParams { continue_token: token, ..ListParams::default().limit(500) };
        let page = api.list(&params).await.unwrap();
        names.extend(page.items.iter().map(ResourceExt::name_any));
        pages += 1;
        token = page.metadata.continue_.filter(|token| !token.is_empty());
        if token.is_none() {
            break;
        }
    }
    assert!(
        names.is_sorted() && names.len() == 5005 && pages == 11,
        "{} names in {pages} pages",
        names.len()
    );
}
