//! Both machines against each other over a lossless pair of queues that may break at any moment: whatever the
//! order of changes, requests, responses and reconnects, the client ends with the server's set.

#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use meltemi_proto::envoy::config::cluster::v3::Cluster;
use meltemi_proto::envoy::config::core::v3::Node;
use meltemi_proto::envoy::config::endpoint::v3::ClusterLoadAssignment;
use meltemi_proto::envoy::service::discovery::v3::{DeltaDiscoveryRequest, DeltaDiscoveryResponse};
use meltemi_proto::type_url;
use meltemi_xds::client::{Applied, Client, Request, Response};
use meltemi_xds::server::{DeltaStream, Machine, Sent, SotwStream};
use meltemi_xds::{Resource, ResourceSet, Subscription};
use proptest::prelude::*;
use prost::Message;

type Version = u32;
type Set = BTreeMap<String, Version>;

/// Versions that the client refuses.
fn bad(version: Version) -> bool {
    version.is_multiple_of(5)
}

fn name(index: u8) -> String {
    format!("r{index}")
}

/// The body carries the version, so that state-of-the-world responses can be told apart by content.
fn body(type_url: &str, name: &str, version: Version) -> Vec<u8> {
    if type_url == type_url::CLUSTER {
        Cluster { name: name.into(), alt_stat_name: version.to_string(), ..Default::default() }
            .encode_to_vec()
    } else {
        let policy = meltemi_proto::envoy::config::endpoint::v3::cluster_load_assignment::Policy {
            overprovisioning_factor: Some(meltemi_proto::google::protobuf::UInt32Value { value: version }),
            ..Default::default()
        };
        ClusterLoadAssignment { cluster_name: name.into(), policy: Some(policy), ..Default::default() }
            .encode_to_vec()
    }
}

fn version_of(resource: &Resource) -> Version {
    if resource.type_url == type_url::CLUSTER {
        return Cluster::decode(resource.body.clone()).unwrap().alt_stat_name.parse().unwrap();
    }
    let load = ClusterLoadAssignment::decode(resource.body.clone()).unwrap();
    load.policy.unwrap().overprovisioning_factor.unwrap().value
}

fn resources(type_url: &'static str, set: &Set) -> ResourceSet {
    let resource = |(name, version): (&String, &Version)| {
        let name: Arc<str> = Arc::from(name.as_str());
        let body = Bytes::from(body(type_url, &name, *version));
        (name.clone(), Resource { name, version: version.to_string().into(), body, type_url })
    };
    Arc::new(set.iter().map(resource).collect())
}

/// One variant of the protocol on the wire.
trait Variant: Machine {
    fn wrap(response: Self::Response) -> Response;
    fn unwrap(request: Request) -> Self::Request;
}

impl Variant for SotwStream {
    fn wrap(response: Self::Response) -> Response {
        Response::Sotw(response)
    }
    fn unwrap(request: Request) -> Self::Request {
        let Request::Sotw(request) = request else { panic!("variant") };
        request
    }
}

impl Variant for DeltaStream {
    fn wrap(response: Self::Response) -> Response {
        Response::Delta(response)
    }
    fn unwrap(request: Request) -> Self::Request {
        let Request::Delta(request) = request else { panic!("variant") };
        request
    }
}

struct World<M: Variant> {
    type_url: &'static str,
    truth: Set,
    wanted: Option<BTreeSet<String>>,
    server: M,
    client: Client,
    to_server: VecDeque<Request>,
    to_client: VecDeque<Response>,
    /// What is in force at the client.
    applied: Set,
    sent: usize,
    nacks: usize,
}

#[derive(Clone, Debug)]
enum Step {
    Change(u8, Option<Version>),
    ServerReads,
    ClientReads,
    Reconnect,
    Want(BTreeSet<u8>),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0u8..6, proptest::option::weighted(0.8, 1u32..40)).prop_map(|(n, v)| Step::Change(n, v)),
        5 => Just(Step::ServerReads),
        5 => Just(Step::ClientReads),
        1 => Just(Step::Reconnect),
        2 => proptest::collection::btree_set(0u8..6, 0..5).prop_map(Step::Want),
    ];
    proptest::collection::vec(step, 0..60)
}

impl<M: Variant> World<M> {
    fn new(type_url: &'static str) -> Self {
        let wanted = (type_url != type_url::CLUSTER).then(BTreeSet::new);
        let subscription = match &wanted {
            None => Subscription::Wildcard,
            Some(_) => Subscription::names(Vec::<String>::new()),
        };
        let client = Client::new(Node::default(), M::DELTA, vec![(type_url, subscription)]);
        let mut world = Self {
            type_url,
            truth: Set::new(),
            wanted,
            server: M::default(),
            client,
            to_server: VecDeque::new(),
            to_client: VecDeque::new(),
            applied: Set::new(),
            sent: 0,
            nacks: 0,
        };
        world.reconnect();
        world
    }

    /// The stream breaks and the server (perhaps another) knows nothing of the client.
    fn reconnect(&mut self) {
        self.server = M::default();
        self.to_client.clear();
        self.to_server = self.client.connect().into();
    }

    fn answer(&mut self) {
        if !self.server.ready(self.type_url) {
            return;
        }
        let set = resources(self.type_url, &self.truth);
        if let Some(sent) = self.server.respond(self.type_url, &set) {
            self.sent += sent.resources;
            self.to_client.push_back(M::wrap(sent.response));
        }
    }

    fn server_reads(&mut self) -> bool {
        let Some(request) = self.to_server.pop_front() else { return false };
        let outcome = self.server.request(M::unwrap(request)).unwrap();
        if outcome.answer {
            self.answer();
        }
        true
    }

    fn client_reads(&mut self) -> bool {
        let Some(response) = self.to_client.pop_front() else { return false };
        let update = self.client.receive(response).unwrap();
        let mut applied = Applied::ok();
        for resource in &update.upserts {
            let version = version_of(resource);
            if bad(version) {
                applied.rejected.push((resource.name.clone(), "a multiple of five".into()));
            } else {
                self.applied.insert(resource.name.to_string(), version);
            }
        }
        for name in &update.removed {
            self.applied.remove(name.as_ref());
        }
        self.nacks += usize::from(!applied.rejected.is_empty());
        self.to_server.extend(self.client.applied(applied));
        true
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Change(index, version) => {
                match version {
                    Some(version) => self.truth.insert(name(index), version),
                    None => self.truth.remove(&name(index)),
                };
                self.answer();
            }
            Step::ServerReads => drop(self.server_reads()),
            Step::ClientReads => drop(self.client_reads()),
            Step::Reconnect => self.reconnect(),
            Step::Want(indexes) => self.want(indexes),
        }
    }

    fn want(&mut self, indexes: BTreeSet<u8>) {
        if self.wanted.is_none() {
            return;
        }
        let names: BTreeSet<String> = indexes.into_iter().map(name).collect();
        self.applied.retain(|name, _| names.contains(name));
        let subscription = Subscription::names(names.iter().map(String::as_str));
        self.to_server.extend(self.client.subscribe(self.type_url, subscription));
        self.wanted = Some(names);
    }

    fn settle(&mut self) {
        for _ in 0..10_000 {
            let moved = self.server_reads() | self.client_reads();
            if !moved {
                return;
            }
        }
        panic!("the two machines never come to rest");
    }

    fn is_wanted(&self, name: &str) -> bool {
        self.wanted.as_ref().is_none_or(|names| names.contains(name))
    }

    /// State of the world cannot tell that one of several endpoints sets is gone.
    fn removal_is_told(&self) -> bool {
        M::DELTA || self.type_url == type_url::CLUSTER
    }

    fn check(&self) {
        for (name, version) in self.truth.iter().filter(|(name, _)| self.is_wanted(name)) {
            if bad(*version) {
                assert!(
                    self.applied.get(name).is_none_or(|held| !bad(*held)),
                    "{name}: a refused version is in force"
                );
            } else {
                assert_eq!(self.applied.get(name), Some(version), "{name} did not arrive");
            }
        }
        for name in self.applied.keys() {
            assert!(self.is_wanted(name), "{name} was not asked for");
            assert!(!self.removal_is_told() || self.truth.contains_key(name), "{name} is gone and was kept");
        }
    }
}

fn converges<M: Variant>(type_url: &'static str, steps: Vec<Step>) {
    let mut world = World::<M>::new(type_url);
    for step in steps {
        world.step(step);
    }
    world.settle();
    world.check();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn sotw_clusters_converge(steps in steps()) {
        converges::<SotwStream>(type_url::CLUSTER, steps);
    }

    #[test]
    fn sotw_endpoints_converge(steps in steps()) {
        converges::<SotwStream>(type_url::ENDPOINT, steps);
    }

    #[test]
    fn delta_clusters_converge(steps in steps()) {
        converges::<DeltaStream>(type_url::CLUSTER, steps);
    }

    #[test]
    fn delta_endpoints_converge(steps in steps()) {
        converges::<DeltaStream>(type_url::ENDPOINT, steps);
    }
}

fn settled<M: Variant>(type_url: &'static str, versions: &[(u8, Version)]) -> World<M> {
    let mut world = World::<M>::new(type_url);
    for (index, version) in versions {
        world.step(Step::Change(*index, Some(*version)));
    }
    world.settle();
    world
}

#[test]
fn a_refused_version_leaves_the_last_good_one_in_force() {
    fn check<M: Variant>() {
        let mut world = settled::<M>(type_url::CLUSTER, &[(0, 1), (1, 2)]);
        world.step(Step::Change(0, Some(10)));
        world.settle();
        assert_eq!(world.applied[&name(0)], 1);
        assert_eq!(world.nacks, 1, "refused once, not in a loop");
        world.step(Step::Change(0, Some(11)));
        world.settle();
        assert_eq!(world.applied[&name(0)], 11);
    }
    check::<SotwStream>();
    check::<DeltaStream>();
}

#[test]
fn a_delta_client_that_reconnects_is_sent_only_what_changed() {
    let mut world = settled::<DeltaStream>(type_url::CLUSTER, &[(0, 1), (1, 2), (2, 3)]);
    world.sent = 0;
    world.reconnect();
    world.truth.insert(name(1), 4);
    world.truth.remove(&name(2));
    world.settle();
    world.check();
    assert_eq!(world.sent, 1);
}

#[test]
fn delta_sends_one_of_many() {
    let mut world = settled::<DeltaStream>(type_url::CLUSTER, &[(0, 1), (1, 2), (2, 3)]);
    world.sent = 0;
    world.step(Step::Change(1, Some(7)));
    world.settle();
    assert_eq!(world.sent, 1);
}

#[test]
fn a_name_that_does_not_exist_is_answered() {
    let mut world = settled::<DeltaStream>(type_url::ENDPOINT, &[]);
    world.step(Step::Want(BTreeSet::from([3])));
    assert!(world.server_reads());
    let Some(Response::Delta(response)) = world.to_client.front() else { panic!("no answer") };
    assert_eq!(response.removed_resources, [name(3)]);
}

#[test]
fn changes_while_a_verdict_is_out_are_sent_together() {
    fn check<M: Variant>() {
        let mut world = World::<M>::new(type_url::CLUSTER);
        world.server_reads();
        for version in [1, 2, 3] {
            world.step(Step::Change(0, Some(version)));
        }
        assert_eq!(world.to_client.len(), 1, "one response in flight");
        world.settle();
        assert_eq!(world.applied[&name(0)], 3);
        assert_eq!(world.sent, 1, "the versions between were never sent");
    }
    check::<SotwStream>();
    check::<DeltaStream>();
}

#[test]
fn after_a_cluster_changed_endpoints_asked_by_the_same_names_are_answered() {
    let mut server = SotwStream::default();
    let clusters = |version| resources(type_url::CLUSTER, &Set::from([(name(0), version)]));
    let endpoints = resources(type_url::ENDPOINT, &Set::from([(name(0), 1)]));
    let ask = |type_url: &str, nonce: &str| meltemi_proto::envoy::service::discovery::v3::DiscoveryRequest {
        type_url: type_url.into(),
        response_nonce: nonce.into(),
        resource_names: if type_url == type_url::CLUSTER { vec![] } else { vec![name(0)] },
        ..Default::default()
    };
    assert!(server.request(ask(type_url::CLUSTER, "")).unwrap().answer);
    let sent = server.respond(type_url::CLUSTER, &clusters(1)).unwrap();
    server.request(ask(type_url::CLUSTER, &sent.nonce)).unwrap();
    assert!(server.request(ask(type_url::ENDPOINT, "")).unwrap().answer);
    let first = server.respond(type_url::ENDPOINT, &endpoints).unwrap();
    assert!(!server.request(ask(type_url::ENDPOINT, &first.nonce)).unwrap().answer, "a plain ACK");
    server.respond(type_url::CLUSTER, &clusters(2)).unwrap();
    assert!(server.request(ask(type_url::ENDPOINT, &first.nonce)).unwrap().answer, "the cluster warms");
    assert!(server.respond(type_url::ENDPOINT, &endpoints).is_some());
}

/// Envoy would wait for ever for the endpoints of a changed cluster.
#[test]
fn endpoints_of_a_changed_cluster_are_sent_anew() {
    let ask = |type_url: &str, initial: &[&str]| DeltaDiscoveryRequest {
        type_url: type_url.into(),
        resource_names_subscribe: match type_url {
            type_url::ENDPOINT => vec!["a".into(), "b".into()],
            _ => vec!["*".into()],
        },
        initial_resource_versions: initial.iter().map(|name| (name.to_string(), "1".into())).collect(),
        ..Default::default()
    };
    let set = |type_url, a| resources(type_url, &Set::from([("a".into(), a), ("b".into(), 1)]));
    let names = |sent: Option<Sent<DeltaDiscoveryResponse>>| -> Vec<String> {
        sent.map(|sent| sent.response.resources.into_iter().map(|r| r.name).collect()).unwrap_or_default()
    };
    let endpoints = set(type_url::ENDPOINT, 1);
    let mut server = DeltaStream::default();
    server.request(ask(type_url::CLUSTER, &["a", "b"])).unwrap();
    assert_eq!(names(server.respond(type_url::CLUSTER, &set(type_url::CLUSTER, 2))), ["a"]);
    server.request(ask(type_url::ENDPOINT, &["a", "b"])).unwrap();
    let sent = server.respond(type_url::ENDPOINT, &endpoints);
    let nonce = sent.as_ref().unwrap().nonce.clone();
    assert_eq!(names(sent), ["a"], "also when the cluster changed while the stream was down");

    let ack = |type_url: &str, nonce: &str| DeltaDiscoveryRequest {
        type_url: type_url.into(),
        response_nonce: nonce.into(),
        ..Default::default()
    };
    server.request(ack(type_url::CLUSTER, "1")).unwrap();
    server.request(ack(type_url::ENDPOINT, &nonce)).unwrap();
    assert_eq!(names(server.respond(type_url::ENDPOINT, &endpoints)), [""; 0]);
    assert_eq!(names(server.respond(type_url::CLUSTER, &set(type_url::CLUSTER, 3))), ["a"]);
    assert_eq!(names(server.respond(type_url::ENDPOINT, &endpoints)), ["a"]);
}

#[test]
fn limits_hold() {
    use meltemi_proto::envoy::service::discovery::v3::DeltaDiscoveryRequest as Delta;
    let mut server = DeltaStream::default();
    assert!(server.request(Delta::default()).is_err(), "no type");
    let long = Delta {
        type_url: type_url::ENDPOINT.into(),
        resource_names_subscribe: vec!["x".repeat(3000)],
        ..Default::default()
    };
    assert!(server.request(long).is_err(), "a name too long");
    for index in 0..64 {
        server.request(Delta { type_url: format!("t{index}"), ..Default::default() }).unwrap();
    }
    assert!(server.request(Delta { type_url: "one.more".into(), ..Default::default() }).is_err());
}

#[test]
fn names_under_a_wildcard_are_limited_too() {
    let mut stream = DeltaStream::default();
    let ask = |from: u32, to: u32| DeltaDiscoveryRequest {
        type_url: type_url::CLUSTER.into(),
        resource_names_subscribe: (from..to).map(|n| format!("no-{n}")).chain(["*".into()]).collect(),
        ..Default::default()
    };
    stream.request(ask(0, 1)).unwrap();
    stream.request(ask(0, 60_000)).unwrap();
    assert!(stream.request(ask(60_000, 120_000)).is_err());
}
