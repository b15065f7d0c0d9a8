use meltemi_proto::envoy::config::route::v3::route_match::PathSpecifier;
use meltemi_proto::envoy::config::route::v3::weighted_cluster::ClusterWeight;
use meltemi_proto::google::protobuf::UInt32Value;

use super::*;
use crate::base::head::RequestHead;
use crate::route::action::Target;
use crate::route::table::Decision;

fn forward(prefix: &str, cluster: &str) -> proto::Route {
    proto::Route {
        name: format!("to-{cluster}"),
        r#match: Some(proto::RouteMatch {
            path_specifier: Some(PathSpecifier::Prefix(prefix.into())),
            ..Default::default()
        }),
        action: Some(proto::route::Action::Route(proto::RouteAction {
            cluster_specifier: Some(proto::route_action::ClusterSpecifier::Cluster(cluster.into())),
            ..Default::default()
        })),
        ..Default::default()
    }
}

fn host(name: &str, domains: &[&str], routes: Vec<proto::Route>) -> proto::VirtualHost {
    let domains = domains.iter().map(|d| (*d).to_owned()).collect();
    proto::VirtualHost { name: name.into(), domains, routes, ..Default::default() }
}

fn table(virtual_hosts: Vec<proto::VirtualHost>) -> Compiled<RouteTable> {
    let config = proto::RouteConfiguration { name: "9080".into(), virtual_hosts, ..Default::default() };
    compile(&config, Deps { clusters: &Arc::default(), per_filter: &|_, _| Ok(None) })
}

fn decide(table: &RouteTable, authority: &str, path: &str) -> String {
    let head = RequestHead { authority: authority.into(), path: path.into(), ..RequestHead::default() };
    match table.decide(&head, 0) {
        Decision::Route(route) => route.name.to_string(),
        Decision::RequireTls => "tls".into(),
        Decision::None => "none".into(),
    }
}

#[test]
fn the_first_matching_route_of_the_best_host_decides() {
    let reviews = ["reviews", "reviews.default:9080"];
    let routes = vec![forward("/api", "v2"), forward("/", "v1")];
    let secure = proto::VirtualHost {
        require_tls: TlsRequirementType::All as i32,
        ..host("secure", &["secure.com"], vec![forward("/", "x")])
    };
    let table = table(vec![
        host("reviews", &reviews, routes),
        secure,
        host("any", &["*"], vec![forward("/only", "pass")]),
    ])
    .unwrap();
    assert_eq!(decide(&table, "reviews", "/api/x"), "to-v2");
    assert_eq!(decide(&table, "REVIEWS.default:9080", "/"), "to-v1");
    assert_eq!(decide(&table, "other", "/only"), "to-pass");
    assert_eq!(decide(&table, "other", "/"), "none");
    assert_eq!(decide(&table, "secure.com", "/"), "tls");
}

#[test]
fn rejections_name_the_field() {
    let twice = table(vec![host("a", &["x"], vec![]), host("b", &["x"], vec![])]).unwrap_err();
    assert_eq!(twice.to_string(), "virtual_hosts[1].domains: \"x\" is there twice");
    let mut bad = forward("/", "c");
    bad.r#match = Some(proto::RouteMatch {
        path_specifier: Some(PathSpecifier::SafeRegex(
            meltemi_proto::envoy::r#type::matcher::v3::RegexMatcher {
                regex: "(".into(),
                ..Default::default()
            },
        )),
        ..Default::default()
    });
    let error = table(vec![host("a", &["x"], vec![forward("/", "c"), bad])]).unwrap_err();
    assert_eq!(error.field(), "virtual_hosts[0](a).routes[1].match.safe_regex.regex");
}

#[test]
fn a_weighted_split_is_exact() {
    let weight = |name: &str, value| ClusterWeight {
        name: name.into(),
        weight: Some(UInt32Value { value }),
        ..Default::default()
    };
    let mut route = forward("/", "unused");
    route.action = Some(proto::route::Action::Route(proto::RouteAction {
        cluster_specifier: Some(proto::route_action::ClusterSpecifier::WeightedClusters(
            proto::WeightedCluster {
                clusters: vec![weight("v1", 90), weight("v2", 10)],
                ..Default::default()
            },
        )),
        ..Default::default()
    }));
    let table = table(vec![host("a", &["*"], vec![route])]).unwrap();
    let Action::Forward(forward) = &table.hosts[0].routes[0].action else { panic!("forwards") };
    let Target::Weighted(_) = forward.target else { panic!("is weighted") };
    let head = RequestHead::default();
    let to_v2 = (0..100).filter(|_| &**forward.target.choose(&head).cluster.unwrap().name() == "v2").count();
    assert_eq!(to_v2, 10);
}
