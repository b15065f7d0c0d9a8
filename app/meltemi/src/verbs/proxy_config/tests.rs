use meltemi_identity::authority::Authority;
use serde_json::json;

use super::*;

/// A small dump in Envoy's shape, with what tables have to cope with.
fn dump() -> Dump {
    let at = |address: &str, port: u32| json!({"socket_address": {"address": address, "port_value": port}});
    let rds = json!({
        "name": "envoy.filters.network.http_connection_manager",
        "typed_config": {"@type": "t", "rds": {"route_config_name": "9080"}},
    });
    let tcp = |cluster: &str| json!({"name": "envoy.filters.network.tcp_proxy", "typed_config": {"cluster": cluster}});
    let inline = |path: &str| {
        json!({
            "name": "envoy.filters.network.http_connection_manager",
            "typed_config": {"route_config": {"virtual_hosts": [
                {"domains": ["*"], "routes": [{"match": {"prefix": path}, "route": {"cluster": "prometheus_stats"}}]},
            ]}},
        })
    };
    let clusters = json!({
        "@type": "type.googleapis.com/envoy.admin.v3.ClustersConfigDump",
        "static_clusters": [{"cluster": {"@type": "c", "name": "xds-grpc"}}],
        "dynamic_active_clusters": [
            {"cluster": {
                "@type": "type.googleapis.com/envoy.config.cluster.v3.Cluster",
                "name": "outbound|9080|v1|reviews.default.svc.cluster.local", "type": "EDS",
                "metadata": {"filter_metadata": {"istio": {
                    "config": "/apis/networking.istio.io/v1alpha3/namespaces/default/destination-rule/reviews"}}},
            }},
            {"cluster": {"name": "outbound|9080||reviews.default.svc.cluster.local", "type": "EDS"}},
            {"cluster": {"name": "inbound|9080||", "type": "ORIGINAL_DST"}},
            {"cluster": {"name": "PassthroughCluster", "type": "ORIGINAL_DST"}},
        ],
    });
    let listeners = json!({
        "@type": "type.googleapis.com/envoy.admin.v3.ListenersConfigDump",
        "static_listeners": [
            {"listener": {"address": at("0.0.0.0", 15090), "filter_chains": [{"filters": [inline("/stats/prometheus")]}]}},
        ],
        "dynamic_listeners": [
            {"name": "0.0.0.0_9080", "active_state": {"listener": {
                "name": "0.0.0.0_9080", "address": at("0.0.0.0", 9080),
                "filter_chains": [{
                    "filter_chain_match": {"transport_protocol": "raw_buffer", "application_protocols": ["http/1.1", "h2c"]},
                    "filters": [rds],
                }],
                "default_filter_chain": {"filters": [tcp("PassthroughCluster")]},
            }}},
            {"name": "virtualInbound", "active_state": {"listener": {
                "name": "virtualInbound", "address": at("0.0.0.0", 15006),
                "filter_chains": [
                    {"filter_chain_match": {"destination_port": 15006}, "filters": [tcp("BlackHoleCluster")]},
                    {
                        "filter_chain_match": {
                            "destination_port": 9080, "transport_protocol": "tls",
                            "application_protocols": ["istio", "istio-http/1.0", "istio-http/1.1", "istio-h2"],
                        },
                        "filters": [tcp("inbound|9080||")],
                    },
                    {"filter_chain_match": {"prefix_ranges": [{"address_prefix": "0.0.0.0", "prefix_len": 0}]}, "filters": []},
                ],
            }}},
        ],
    });
    let routes = json!({
        "@type": "type.googleapis.com/envoy.admin.v3.RoutesConfigDump",
        "dynamic_route_configs": [{"route_config": {"name": "9080", "virtual_hosts": [
            {
                "name": "reviews.default.svc.cluster.local:9080",
                "domains": ["reviews.default.svc.cluster.local", "reviews", "reviews.default.svc", "reviews.default", "10.96.4.2"],
                "routes": [
                    {
                        "match": {"prefix": "/"}, "route": {"cluster": "x"},
                        "metadata": {"filter_metadata": {"istio": {
                            "config": "/apis/networking.istio.io/v1alpha3/namespaces/default/virtual-service/reviews"}}},
                    },
                    {"match": {"safe_regex": {"regex": "/a.*"}}, "direct_response": {"status": 200}},
                ],
            },
            {"name": "allow_any", "domains": ["*"], "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "PassthroughCluster"}}]},
        ]}}],
    });
    let (chain, root) = certificates();
    let secrets = json!({
        "@type": "type.googleapis.com/envoy.admin.v3.SecretsConfigDump",
        "dynamic_active_secrets": [
            {"name": "default", "secret": {"name": "default", "tls_certificate": {"certificate_chain": {"inline_string": chain}}}},
            {"name": "ROOTCA", "secret": {"name": "ROOTCA", "validation_context": {"trusted_ca": {"inline_string": root}}}},
        ],
        "dynamic_warming_secrets": [{"name": "kubernetes://late"}],
    });
    let endpoints = json!({
        "@type": "type.googleapis.com/envoy.admin.v3.EndpointsConfigDump",
        "dynamic_endpoint_configs": [{"endpoint_config": {
            "cluster_name": "outbound|9080||reviews.default.svc.cluster.local",
            "endpoints": [{"lb_endpoints": [
                {"endpoint": {"address": at("10.244.0.9", 9080)}, "health_status": "HEALTHY"},
                {"endpoint": {"address": at("10.244.0.10", 9080)}, "health_status": "UNHEALTHY"},
            ]}],
        }}],
    });
    let bootstrap = json!({
        "@type": "type.googleapis.com/envoy.admin.v3.BootstrapConfigDump",
        "bootstrap": {"node": {"id": "sidecar~1~p.ns~d"}},
    });
    let all = json!({"configs": [bootstrap, clusters, endpoints, listeners, routes, secrets]});
    Dump::parse(&all.to_string()).unwrap()
}

fn certificates() -> (String, String) {
    let day = std::time::Duration::from_secs(86_400);
    let authority = Authority::self_signed("cluster.local", day * 365).unwrap();
    let id = "spiffe://cluster.local/ns/default/sa/reviews".parse().unwrap();
    let (_, csr) = meltemi_identity::csr::generate(&id).unwrap();
    (authority.sign(&csr, &id, day).unwrap(), authority.root_pem().to_owned())
}

#[test]
fn the_table_of_clusters() {
    let expected = "\
SERVICE FQDN                          PORT     SUBSET     DIRECTION     TYPE             DESTINATION RULE
                                      9080     -          inbound       ORIGINAL_DST
PassthroughCluster                    -        -          -             ORIGINAL_DST
reviews.default.svc.cluster.local     9080     -          outbound      EDS
reviews.default.svc.cluster.local     9080     v1         outbound      EDS              reviews.default
xds-grpc                              -        -          -             STATIC
";
    let dump = dump();
    assert_eq!(clusters::table(&clusters::Filter::default().of(&dump)).render(false), expected);
}

#[test]
fn clusters_are_filtered() {
    let dump = dump();
    let names = |filter: clusters::Filter| -> Vec<String> {
        filter.of(&dump).iter().map(|cluster| text(cluster, "name").to_owned()).collect()
    };
    let filter =
        clusters::Filter { fqdn: "reviews".to_owned(), subset: "v1".to_owned(), ..Default::default() };
    assert_eq!(names(filter), ["outbound|9080|v1|reviews.default.svc.cluster.local"]);
    assert_eq!(
        names(clusters::Filter { direction: "inbound".to_owned(), ..Default::default() }),
        ["inbound|9080||"]
    );
    assert!(names(clusters::Filter { port: 1, ..Default::default() }).is_empty());
}

#[test]
fn the_table_of_listeners() {
    let expected = "\
ADDRESSES PORT  MATCH                                     DESTINATION
0.0.0.0   9080  Trans: raw_buffer; App: http/1.1,h2c      Route: 9080
0.0.0.0   9080  ALL                                       PassthroughCluster
0.0.0.0   15006 Addr: *:15006                             BlackHoleCluster
0.0.0.0   15006 Trans: tls; App: Istio HTTP Plain; Addr: *:9080 Cluster: inbound|9080||
0.0.0.0   15006 Addr: 0.0.0.0/0                           Non-HTTP/Non-TCP
0.0.0.0   15090 ALL                                       Inline Route: /stats/prometheus*
";
    let dump = dump();
    let shown = listeners::table(&listeners::Filter::default().of(&dump)).render(false);
    // The columns' widths are the table's own business.
    let words = |text: &str| {
        text.lines().map(|l| l.split_whitespace().collect::<Vec<_>>().join(" ")).collect::<Vec<_>>()
    };
    assert_eq!(words(&shown), words(expected));
    let http = listeners::Filter { kind: "http".to_owned(), port: 9080, ..Default::default() };
    assert_eq!(http.of(&dump).len(), 1);
}

#[test]
fn the_table_of_routes() {
    let expected = "\
NAME     VHOST NAME                                 DOMAINS                                  MATCH          VIRTUAL SERVICE
9080     reviews.default.svc.cluster.local:9080     reviews, reviews.default + 1 more...     /*             reviews.default
9080     reviews.default.svc.cluster.local:9080     reviews, reviews.default + 1 more...     regex /a.*
";
    let dump = dump();
    assert_eq!(routes::table(&routes::Filter::default().of(&dump)).render(false), expected);
    assert!(routes::Filter { name: "80".to_owned() }.of(&dump).is_empty());
}

#[test]
fn the_table_of_endpoints() {
    let expected = "\
ENDPOINT             STATUS        OUTLIER CHECK     CLUSTER
10.244.0.10:9080     UNHEALTHY     OK                outbound|9080||reviews.default.svc.cluster.local
10.244.0.9:9080      HEALTHY       OK                outbound|9080||reviews.default.svc.cluster.local
";
    let filter = endpoints::Filter::default();
    assert_eq!(endpoints::table(&filter.apply(endpoints::of_dump(&dump()))).render(false), expected);
    let clusters = json!({"cluster_statuses": [{"name": "sds-grpc", "host_statuses": [
        {"address": {"pipe": {"path": "./sock"}}, "health_status": {"failed_outlier_check": true}},
    ]}]});
    let shown = endpoints::table(&endpoints::of_clusters(&clusters)).render(false);
    assert!(shown.contains("unix://./sock     HEALTHY     FAILED            sds-grpc"), "{shown}");
    let sick = endpoints::Filter { status: "unhealthy".to_owned(), ..Default::default() };
    assert_eq!(sick.apply(endpoints::of_dump(&dump())).len(), 1);
}

#[test]
fn the_table_of_secrets() {
    let shown = secrets::table(&dump(), SystemTime::now()).render(false);
    let rows: Vec<Vec<&str>> = shown.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows[1][..5], ["default", "Cert", "Chain", "ACTIVE", "true"]);
    assert_eq!(rows[1].last(), Some(&"cluster.local"));
    assert_eq!(rows[2][..4], ["ROOTCA", "CA", "ACTIVE", "true"]);
    assert_eq!(rows[3], ["late", "WARMING", "false"]);
    let later = SystemTime::now() + std::time::Duration::from_secs(10 * 86_400);
    let shown = secrets::table(&dump(), later).render(false);
    let leaf: Vec<&str> = shown.lines().nth(1).unwrap().split_whitespace().collect();
    assert_eq!(leaf[..5], ["default", "Cert", "Chain", "ACTIVE", "false"]);
}

#[test]
fn programs_get_proto_json_and_what_does_not_fit_as_it_came() {
    let dump = dump();
    let found = clusters::Filter { subset: "v1".to_owned(), ..Default::default() }.of(&dump);
    assert!(canonical::<Cluster>(&found)[0].get("metadata").unwrap().get("filterMetadata").is_some());
    let odd = json!({"name": "a", "no_such_field": 1});
    assert_eq!(canonical::<Cluster>(&[&odd])[0], odd);
}

#[test]
fn something_else_than_a_dump_is_refused() {
    let error = Dump::parse("{}").unwrap_err().to_string();
    assert!(error.contains("not an Envoy config dump"), "{error}");
    assert!(Dump::parse("nonsense").is_err());
}
