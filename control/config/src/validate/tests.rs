//! One table a kind: a spec, and the findings it must give as `severity path: message part`.

mod policies;
mod routes;

use serde_json::{Value, json};

use super::*;
use crate::{Kind, Severity, parse};

fn findings(kind: Kind, spec: Value) -> Vec<String> {
    let object = json!({
        "apiVersion": kind.api_version(), "kind": kind.name(), "metadata": {"name": "x", "namespace": "default"}, "spec": spec,
    });
    let object = parse(&object).expect("the test's object parses");
    validate(&object)
        .into_iter()
        .map(|found| {
            let severity = if found.severity == Severity::Error { "E" } else { "W" };
            format!("{severity} {}: {}", found.path, found.message)
        })
        .collect()
}

/// Each expectation is the beginning of a finding; there must be just as many.
fn check(kind: Kind, table: &[(Value, &[&str])]) {
    for (spec, expected) in table {
        let found = findings(kind, spec.clone());
        let all = expected.iter().all(|wanted| found.iter().any(|found| found.starts_with(wanted)));
        assert!(all && found.len() == expected.len(), "{spec}\nexpected {expected:#?}\nfound {found:#?}");
    }
}

fn vs(http: Value) -> Value {
    json!({"hosts": ["reviews"], "http": http})
}

fn to(host: &str) -> Value {
    json!([{"destination": {"host": host}}])
}

#[test]
fn destination_rules() {
    let rule = |policy: Value| json!({"host": "reviews", "trafficPolicy": policy});
    check(
        Kind::DestinationRule,
        &[
            (json!({"host": "reviews", "subsets": [{"name": "v1", "labels": {"version": "v1"}}]}), &[]),
            (
                json!({"subsets": [{"name": "v1"}, {"name": "v1"}, {"name": "a b", "labels": {"x": "a*"}}]}),
                &[
                    "E spec.host: the host is missing",
                    "E spec.subsets[1].name: subset",
                    "E spec.subsets[2].name",
                    "E spec.subsets[2].labels.x",
                ],
            ),
            (rule(json!({})), &["E spec.trafficPolicy: the policy is empty"]),
            (
                rule(json!({"loadBalancer": {"consistentHash": {"maglev": {"tableSize": 10}}}})),
                &[
                    "E spec.trafficPolicy.loadBalancer.consistentHash: nothing says",
                    "E spec.trafficPolicy.loadBalancer.consistentHash.maglev",
                ],
            ),
            (
                rule(
                    json!({"loadBalancer": {"localityLbSetting": {"distribute": [{"from": "a", "to": {"b": 60, "c": 30}}]}}}),
                ),
                &[
                    "E spec.trafficPolicy.loadBalancer.localityLbSetting.distribute[0].to: the shares sum to 90",
                ],
            ),
            (
                rule(json!({"tls": {"mode": "MUTUAL"}})),
                &["E spec.trafficPolicy.tls.clientCertificate", "E spec.trafficPolicy.tls.privateKey"],
            ),
            (
                rule(json!({"tls": {"mode": "ISTIO_MUTUAL", "caCertificates": "/x"}})),
                &["E spec.trafficPolicy.tls: mode ISTIO_MUTUAL"],
            ),
            (
                rule(json!({"connectionPool": {"tcp": {"maxConnections": -1, "connectTimeout": "0s"}}})),
                &[
                    "E spec.trafficPolicy.connectionPool.tcp.maxConnections",
                    "E spec.trafficPolicy.connectionPool.tcp.connectTimeout",
                ],
            ),
            (
                rule(json!({"outlierDetection": {"maxEjectionPercent": 200, "interval": "1s"}})),
                &["E spec.trafficPolicy.outlierDetection.maxEjectionPercent"],
            ),
            (
                rule(json!({"portLevelSettings": [{"tls": {"mode": "SIMPLE"}}]})),
                &["E spec.trafficPolicy.portLevelSettings[0].port"],
            ),
        ],
    );
}

#[test]
fn gateways() {
    let server = |server: Value| json!({"selector": {"istio": "ingressgateway"}, "servers": [server]});
    let port = |protocol: &str| json!({"number": 80, "name": "x", "protocol": protocol});
    check(
        Kind::Gateway,
        &[
            (server(json!({"port": port("HTTP"), "hosts": ["*", "ns/a.com", "./*"]})), &[]),
            (json!({"selector": {"a": "b"}}), &["E spec.servers: there is no server"]),
            (json!({"servers": [{"port": port("HTTP"), "hosts": ["*"]}]}), &["W spec: no selector"]),
            (
                server(json!({"port": {"number": 0, "protocol": "HTPP"}})),
                &[
                    "E spec.servers[0].hosts",
                    "E spec.servers[0].port.number",
                    "E spec.servers[0].port.name",
                    "E spec.servers[0].port.protocol: \"HTPP\"",
                ],
            ),
            (
                server(json!({"port": port("HTTPS"), "hosts": ["*"]})),
                &["E spec.servers[0].tls: protocol HTTPS needs"],
            ),
            (
                server(json!({"port": port("HTTPS"), "hosts": ["*"], "tls": {"mode": "SIMPLE"}})),
                &["E spec.servers[0].tls: the server has no certificate"],
            ),
            (
                server(
                    json!({"port": port("HTTPS"), "hosts": ["*"], "tls": {"mode": "SIMPLE", "credentialName": "c"}}),
                ),
                &[],
            ),
            (server(json!({"port": port("HTTP"), "hosts": ["*"], "tls": {"httpsRedirect": true}})), &[]),
            (server(json!({"port": port("TLS"), "hosts": ["a.com"], "tls": {"mode": "PASSTHROUGH"}})), &[]),
            (
                server(json!({"port": port("UDP"), "hosts": ["*"]})),
                &["E spec.servers[0].port.protocol: gateways do not serve UDP"],
            ),
            (
                server(json!({"port": port("TLS"), "hosts": ["a.com"], "tls": {}})),
                &["W spec.servers[0].tls: no mode is set"],
            ),
            (
                server(
                    json!({"port": port("HTTP"), "hosts": ["*"], "tls": {"mode": "SIMPLE", "credentialName": "c"}}),
                ),
                &["E spec.servers[0].tls: protocol HTTP has no TLS"],
            ),
            (
                json!({"selector": {"a": "b"}, "servers": [{"port": port("HTTP"), "hosts": ["a"]}, {"port": port("HTTP"), "hosts": ["b"]}]}),
                &["E spec.servers[1].port.name: port name \"x\" stands twice"],
            ),
        ],
    );
}

#[test]
fn hashes_of_certificates() {
    let server = |hash: &str, key: &str| {
        json!({"selector": {"a": "b"}, "servers": [{"port": {"number": 443, "name": "https", "protocol": "HTTPS"}, "hosts": ["*"],
            "tls": {"mode": "MUTUAL", "credentialName": "c", "verifyCertificateHash": [hash], "verifyCertificateSpki": [key]}}]})
    };
    let (hash, key) = ("ab".repeat(32), format!("{}=", "A".repeat(43)));
    let pairs = vec!["ab"; 32].join(":");
    check(
        Kind::Gateway,
        &[
            (server(&hash, &key), &[]),
            (server(&pairs, &key), &[]),
            (server("ab", &key), &["E spec.servers[0].tls.verifyCertificateHash[0]: \"ab\" is no SHA-256"]),
            (server(&hash, &hash), &["E spec.servers[0].tls.verifyCertificateSpki[0]"]),
        ],
    );
}

#[test]
fn suites_that_proxies_do_not_have_and_rings_that_they_refuse() {
    let server = |suites: &[&str], curves: &[&str]| {
        json!({"selector": {"a": "b"}, "servers": [{"port": {"number": 443, "name": "https", "protocol": "HTTPS"}, "hosts": ["*"],
            "tls": {"mode": "SIMPLE", "credentialName": "c", "cipherSuites": suites, "ecdhCurves": curves}}]})
    };
    check(
        Kind::Gateway,
        &[
            (server(&["ECDHE-RSA-AES128-GCM-SHA256"], &["P-256"]), &[]),
            (
                server(&["AES128-SHA", "ECDHE-RSA-AES128-GCM-SHA256"], &["P-256"]),
                &["W spec.servers[0].tls.cipherSuites: proxies do not have AES128-SHA: left out"],
            ),
            (
                server(&["AES128-SHA"], &["X448"]),
                &[
                    "W spec.servers[0].tls.cipherSuites: proxies do not have AES128-SHA: the server chooses from all",
                    "W spec.servers[0].tls.ecdhCurves",
                ],
            ),
        ],
    );
    let ring = json!({"host": "a", "trafficPolicy": {"loadBalancer": {"consistentHash": {"useSourceIp": true,
        "ringHash": {"minimumRingSize": 8_388_609}}}}});
    let path =
        "E spec.trafficPolicy.loadBalancer.consistentHash.ringHash.minimumRingSize: 8388609 is too large";
    check(Kind::DestinationRule, &[(ring, &[path])]);
}

#[test]
fn service_entries_and_workloads() {
    let port = json!([{"number": 443, "name": "tls", "protocol": "TLS"}]);
    check(
        Kind::ServiceEntry,
        &[
            (json!({"hosts": ["*.wikipedia.org"], "ports": port, "resolution": "NONE"}), &[]),
            (
                json!({"hosts": ["*.wikipedia.org"], "ports": port, "resolution": "DNS"}),
                &["E spec.hosts[0]: DNS cannot"],
            ),
            (
                json!({"hosts": ["a.com"], "ports": port, "resolution": "STATIC"}),
                &["E spec.endpoints: resolution STATIC"],
            ),
            (
                json!({"hosts": ["a.com"], "ports": port, "resolution": "STATIC", "endpoints": [{"address": "b.com", "ports": {"http": 1}}]}),
                &["E spec.endpoints[0].address", "E spec.endpoints[0].ports.http: the service has no port"],
            ),
            (
                json!({"hosts": ["*"], "ports": [{"number": 1, "name": "a", "protocol": "TLS"}, {"number": 1, "name": "a", "protocol": "X"}]}),
                &[
                    "E spec.hosts[0]: `*`",
                    "E spec.ports[1].protocol",
                    "E spec.ports[1].number",
                    "E spec.ports[1].name",
                ],
            ),
        ],
    );
    check(
        Kind::WorkloadEntry,
        &[
            (json!({"address": "10.0.0.1", "ports": {"http": 80}}), &[]),
            (json!({"address": "unix:///x", "ports": {"http": 80}}), &["E spec.ports"]),
            (json!({"ports": {"http": 0}}), &["E spec.address", "E spec.ports.http"]),
        ],
    );
}

#[test]
fn sidecars() {
    check(
        Kind::Sidecar,
        &[
            (json!({"egress": [{"hosts": ["./*", "istio-system/*"]}]}), &[]),
            (
                json!({"egress": [{"hosts": ["a.b"]}, {"hosts": ["./*"]}]}),
                &["E spec.egress[0]: the listener without", "E spec.egress[0].hosts[0]"],
            ),
            (
                json!({"ingress": [{"port": {"number": 80, "protocol": "HTTP"}, "defaultEndpoint": "8.8.8.8:80"}, {}]}),
                &["E spec.ingress[0].defaultEndpoint", "E spec.ingress[1].port"],
            ),
        ],
    );
}
