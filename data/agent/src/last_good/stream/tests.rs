use meltemi_proto::envoy::config::cluster::v3::Cluster;
use meltemi_proto::google::rpc::Status;
use meltemi_proto::{any, type_url};

use super::*;

const CDS: &str = type_url::CLUSTER;
const EDS: &str = type_url::ENDPOINT;

fn ask(type_url: &str, names: &[&str]) -> DeltaDiscoveryRequest {
    DeltaDiscoveryRequest {
        type_url: type_url.into(),
        resource_names_subscribe: names.iter().map(|name| (*name).to_owned()).collect(),
        ..Default::default()
    }
}

fn answer(type_url: &str, nonce: &str, names: &[&str], removed: &[&str]) -> DeltaDiscoveryResponse {
    let body = || Some(any::pack(&Cluster::default()));
    let resource = |name: &&str| Resource {
        name: (*name).into(),
        version: nonce.into(),
        resource: body(),
        ..Default::default()
    };
    DeltaDiscoveryResponse {
        type_url: type_url.into(),
        nonce: nonce.into(),
        resources: names.iter().map(resource).collect(),
        removed_resources: removed.iter().map(|name| (*name).to_owned()).collect(),
        ..Default::default()
    }
}

fn verdict(type_url: &str, nonce: &str, refused: bool) -> DeltaDiscoveryRequest {
    let error_detail = refused.then(Status::default);
    DeltaDiscoveryRequest { response_nonce: nonce.into(), error_detail, ..ask(type_url, &[]) }
}

fn names(config: &Config, type_url: &str) -> Vec<String> {
    config.get(type_url).into_iter().flatten().map(|(name, r)| format!("{name}@{}", r.version)).collect()
}

#[test]
fn accepted_is_what_was_acknowledged() {
    let mut stream = Stream::default();
    stream.delta_request(&ask(CDS, &[]));
    stream.delta_response(&answer(CDS, "1", &["a", "b"], &[]));
    assert!(stream.accepted().get(CDS).is_none() && !stream.is_settled());
    assert!(stream.delta_request(&verdict(CDS, "1", false)));
    stream.delta_request(&ask(EDS, &["a"]));
    assert!(!stream.is_settled(), "endpoints were asked for and are not there");
    stream.delta_response(&answer(EDS, "2", &["a"], &[]));
    stream.delta_response(&answer(CDS, "3", &["c"], &["b"]));
    assert!(stream.delta_request(&verdict(EDS, "2", false)));
    assert!(!stream.is_settled());
    stream.delta_request(&verdict(CDS, "3", true));
    assert!(stream.is_settled());
    assert_eq!(names(&stream.accepted(), CDS), ["a@1", "b@1"], "what was refused is not in force");
    stream.delta_response(&answer(CDS, "4", &["c"], &["b"]));
    assert!(!stream.delta_request(&verdict(CDS, "3", false)), "an old nonce says nothing");
    assert!(stream.delta_request(&verdict(CDS, "4", false)));
    assert_eq!(names(&stream.accepted(), CDS), ["a@1", "c@4"]);
    stream.delta_request(&ask(EDS, &["c", "gone"]));
    stream.delta_response(&answer(EDS, "5", &["c"], &[]));
    stream.delta_request(&verdict(EDS, "5", false));
    assert!(!stream.is_settled(), "nothing was said of one of them");
    stream.delta_response(&answer(EDS, "6", &[], &["gone", "c"]));
    stream.delta_request(&verdict(EDS, "6", false));
    assert!(stream.is_settled());
    let mut leave = ask(EDS, &[]);
    leave.resource_names_unsubscribe = vec!["a".into()];
    assert!(stream.delta_request(&leave));
    assert_eq!(names(&stream.accepted(), EDS), [""; 0]);
}

#[test]
fn a_new_stream_goes_on_from_what_the_proxy_says_it_has() {
    let mut first = Stream::default();
    first.delta_request(&ask(CDS, &[]));
    first.delta_response(&answer(CDS, "1", &["a", "b"], &[]));
    first.delta_request(&verdict(CDS, "1", false));
    let accepted = first.accepted();

    let mut again = Stream::new(accepted.clone());
    let mut request = ask(CDS, &[]);
    request.initial_resource_versions = [("b".to_owned(), "1".to_owned())].into();
    again.delta_request(&request);
    assert_eq!(names(&again.accepted(), CDS), ["b@1"]);

    // A proxy that was started anew has nothing; what its forerunner had stays good until there is something newer.
    let mut restarted = Stream::new(accepted);
    restarted.delta_request(&ask(CDS, &[]));
    assert_eq!(names(&restarted.accepted(), CDS), ["a@1", "b@1"]);
    restarted.delta_response(&answer(CDS, "1", &["c"], &[]));
    restarted.delta_request(&verdict(CDS, "1", false));
    assert_eq!(names(&restarted.accepted(), CDS), ["c@1"]);
}

#[test]
fn state_of_the_world_replaces_or_adds_by_type() {
    let cluster = |name: &str| any::pack(&Cluster { name: name.into(), ..Default::default() });
    let response = |type_url: &str, nonce: &str, names: &[&str]| DiscoveryResponse {
        type_url: type_url.into(),
        nonce: nonce.into(),
        resources: names.iter().map(|name| cluster(name)).collect(),
        ..Default::default()
    };
    let request = |type_url: &str, nonce: &str, names: &[&str]| DiscoveryRequest {
        type_url: type_url.into(),
        response_nonce: nonce.into(),
        resource_names: names.iter().map(|name| (*name).to_owned()).collect(),
        ..Default::default()
    };
    let mut stream = Stream::default();
    stream.sotw_request(&request(CDS, "", &[]));
    stream.sotw_request(&request(EDS, "", &["a", "b"]));
    for (type_url, subscribed) in [(CDS, &[][..]), (EDS, &["a", "b"][..])] {
        stream.sotw_response(&response(type_url, "1", &["a"]));
        stream.sotw_request(&request(type_url, "1", subscribed));
        stream.sotw_response(&response(type_url, "2", &["b"]));
        stream.sotw_request(&request(type_url, "2", subscribed));
    }
    let has = |stream: &Stream, type_url| {
        stream.accepted().get(type_url).map(|all| all.keys().cloned().collect::<Vec<_>>()).unwrap_or_default()
    };
    assert_eq!(has(&stream, CDS), ["b"]);
    assert_eq!(has(&stream, EDS), ["a", "b"]);
    assert!(stream.sotw_request(&request(EDS, "2", &["b"])));
    assert_eq!(has(&stream, EDS), ["b"]);
    let cluster = stream.accepted();
    let body = cluster.get(CDS).unwrap()["b"].resource.clone().unwrap();
    assert_eq!(any::unpack::<Cluster>(&body).unwrap().name, "b");
}
