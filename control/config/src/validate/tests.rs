//! One table a kind: a spec, and the findings it must give as `severity path: message part`.

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
fn virtual_services() {
    check(
        Kind::VirtualService,
        &[
            (vs(json!([{"route": to("reviews")}])), &[]),
            (
                json!({"hosts": ["a", "a", "*", "x y"], "http": [{"route": to("b")}]}),
                &[
                    "E spec.hosts[1]: host \"a\" stands twice",
                    "E spec.hosts[2]: `*` is only for gateways",
                    "E spec.hosts[3]: \"x y\" is no host",
                ],
            ),
            (json!({"hosts": ["*"], "gateways": ["g", "ns/g"], "http": [{"route": to("b")}]}), &[]),
            (
                json!({"hosts": ["a"], "gateways": ["A B"]}),
                &["E spec.gateways[0]", "E spec: there is no route"],
            ),
            (json!({"gateways": ["g"], "http": [{"route": to("b")}]}), &["E spec.hosts: no host"]),
            (json!({"http": [{"route": to("b")}]}), &[]),
            (vs(json!([{"route": to("*.b")}])), &["E spec.http[0].route[0].destination.host"]),
            (vs(json!([{}])), &["E spec.http[0]: nothing happens"]),
            (
                vs(json!([{"route": to("b"), "redirect": {"uri": "/x"}}])),
                &["E spec.http[0]: `route` and `redirect` exclude"],
            ),
            (
                vs(
                    json!([{"redirect": {"uri": "/x", "redirectCode": 200}, "fault": {"abort": {"httpStatus": 500}}}]),
                ),
                &["E spec.http[0]: `fault` has no effect", "E spec.http[0].redirect.redirectCode"],
            ),
            (
                vs(
                    json!([{"route": [{"destination": {"host": "a", "port": {"number": 70000}}, "weight": -1}, {"destination": {"host": "b"}}]}]),
                ),
                &[
                    "E spec.http[0].route[0].destination.port.number",
                    "E spec.http[0].route[0].weight",
                    "E spec.http[0].route: the weights",
                ],
            ),
            (
                vs(
                    json!([{"route": to("b"), "timeout": "0.5ms", "retries": {"attempts": 2, "retryOn": "5xx,gatway-error", "perTryTimeout": "0s"}}]),
                ),
                &[
                    "E spec.http[0].timeout: 0.0005s is shorter",
                    "E spec.http[0].retries.retryOn",
                    "E spec.http[0].retries.perTryTimeout",
                ],
            ),
            (
                vs(json!([{"route": to("b"), "retries": {"retryOn": "503"}}])),
                &["E spec.http[0].retries: `attempts: 0`"],
            ),
            (
                vs(
                    json!([{"route": to("b"), "fault": {"delay": {"percentage": {"value": 101}}, "abort": {"httpStatus": 99}}}]),
                ),
                &[
                    "E spec.http[0].fault.delay: the delay",
                    "E spec.http[0].fault.delay.percentage.value",
                    "E spec.http[0].fault.abort.httpStatus",
                ],
            ),
            (
                vs(
                    json!([{"match": [{"withoutHeaders": {"x": {"regex": "*"}}, "uri": {"prefix": ""}}], "route": to("b")}]),
                ),
                &[],
            ),
            (
                vs(json!([{"match": [{"headers": {"x": {"prefix": ""}}}], "route": to("b")}])),
                &["E spec.http[0].match[0].headers.x.prefix: the prefix is empty"],
            ),
            (
                vs(json!([{"route": to("b"), "fault": {"delay": {"fixedDelay": "1s"}}}])),
                &["W spec.http[0].fault.delay: no percentage is named"],
            ),
            (
                vs(
                    json!([{"delegate": {"name": "d"}, "timeout": "1s", "rewrite": {"uri": "/"}, "fault": {"abort": {"httpStatus": 500}}, "retries": {"attempts": 1}, "corsPolicy": {}}]),
                ),
                &[],
            ),
            (
                vs(json!([{"delegate": {"name": ""}, "route": to("b")}])),
                &["E spec.http[0]: `route` and `delegate`", "E spec.http[0].delegate.name"],
            ),
            (
                vs(
                    json!([{"match": [{"uri": {"regex": "(a"}, "headers": {"b c": {"exact": "1"}, ":path": {}}}], "route": to("b")}]),
                ),
                &[
                    "E spec.http[0].match[0].uri.regex: not a regular expression",
                    "E spec.http[0].match[0].headers[\"b c\"]",
                    "E spec.http[0].match[0].headers.:path",
                ],
            ),
            (
                vs(
                    json!([{"route": to("b"), "headers": {"request": {"set": {":authority": "c", "Host": "c", ":path": "/"}}, "response": {"set": {":status": "200", "host": "c"}}}}]),
                ),
                &[
                    "E spec.http[0].headers.request.set.:path: header \":path\" cannot be set",
                    "E spec.http[0].headers.response.set.:status",
                    "E spec.http[0].headers.response.set.host",
                ],
            ),
            (
                vs(
                    json!([{"route": to("b"), "rewrite": {"uri": "/", "uriRegexRewrite": {"match": "x", "rewrite": "y"}}}]),
                ),
                &["E spec.http[0].rewrite"],
            ),
            (
                vs(
                    json!([{"route": to("b"), "mirror": {"host": "c"}, "mirrors": [{"destination": {"host": "d"}}]}]),
                ),
                &["E spec.http[0]: `mirror`"],
            ),
            (
                vs(json!([{"directResponse": {"status": 42, "body": {"bytes": "%%"}}}])),
                &["E spec.http[0].directResponse.status", "E spec.http[0].directResponse.body.bytes"],
            ),
            (
                json!({"hosts": ["a.com"], "tls": [{"match": [{"sniHosts": ["b.com"], "destinationSubnets": ["1.2.3"]}], "route": to("b")}]}),
                &[
                    "E spec.tls[0].match[0].sniHosts[0]: SNI host",
                    "E spec.tls[0].match[0].destinationSubnets[0]",
                ],
            ),
            (
                json!({"hosts": ["a"], "tcp": [{}], "exportTo": ["*", "ns"]}),
                &["E spec.tcp[0].route", "E spec.exportTo: `*`"],
            ),
        ],
    );
}

#[test]
fn unreachable_rules_are_warned_of() {
    let uri = |uri: &str| json!([{"uri": {"prefix": uri}}]);
    check(
        Kind::VirtualService,
        &[
            (
                vs(json!([{"route": to("a")}, {"match": uri("/x"), "route": to("b")}])),
                &["W spec.http[1]: this rule is never reached"],
            ),
            (
                vs(json!([{"match": uri("/x"), "route": to("a")}, {"match": uri("/x"), "route": to("b")}])),
                &["W spec.http[1]: this rule is never"],
            ),
            (
                vs(
                    json!([{"match": uri("/x"), "route": to("a")}, {"match": [{"uri": {"prefix": "/x"}}, {"uri": {"exact": "/y"}}], "route": to("b")}]),
                ),
                &["W spec.http[1].match[0]: this match has no effect"],
            ),
            (vs(json!([{"match": uri("/x"), "route": to("a")}, {"route": to("b")}])), &[]),
        ],
    );
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

#[test]
fn security() {
    check(
        Kind::PeerAuthentication,
        &[
            (json!({"mtls": {"mode": "STRICT"}}), &[]),
            (
                json!({"portLevelMtls": {"0": {"mode": "DISABLE"}}}),
                &["E spec.portLevelMtls: settings of a port", "E spec.portLevelMtls.0"],
            ),
        ],
    );
    check(
        Kind::AuthorizationPolicy,
        &[
            (json!({}), &[]),
            (json!({"action": "DENY"}), &["W spec.rules: without rules"]),
            (json!({"action": "CUSTOM"}), &["E spec.provider", "E spec.rules"]),
            (
                json!({"rules": [{"from": [{"source": {"ipBlocks": ["x"]}}, {}], "to": [{"operation": {"ports": ["http"], "paths": ["/{a}"]}}], "when": [{"key": "source.ipp", "values": ["1"]}]}]}),
                &[
                    "E spec.rules[0].from[0].source.ipBlocks[0]",
                    "E spec.rules[0].from[1].source",
                    "E spec.rules[0].to[0].operation.ports[0]",
                    "E spec.rules[0].to[0].operation.paths[0]",
                    "E spec.rules[0].when[0].key: \"source.ipp\" is no attribute",
                ],
            ),
        ],
    );
    check(
        Kind::RequestAuthentication,
        &[
            (json!({"jwtRules": [{"issuer": "i", "jwksUri": "https://x/y"}]}), &[]),
            (
                json!({"jwtRules": [{"jwks": "{}", "fromHeaders": [{"name": "a b"}]}]}),
                &[
                    "E spec.jwtRules[0].issuer",
                    "E spec.jwtRules[0].jwks",
                    "E spec.jwtRules[0].fromHeaders[0].name",
                ],
            ),
        ],
    );
}

#[test]
fn the_rest() {
    check(
        Kind::Telemetry,
        &[
            (
                json!({"tracing": [{"randomSamplingPercentage": 10.5, "customTags": {"a": {}}}]}),
                &["E spec.tracing[0].customTags.a"],
            ),
            (
                json!({"metrics": [{"overrides": [{"tagOverrides": {"x": {"operation": "UPSERT"}}}]}]}),
                &["E spec.metrics[0].overrides[0].tagOverrides.x.value"],
            ),
        ],
    );
    check(
        Kind::WasmPlugin,
        &[
            (json!({"url": "oci://x/y", "sha256": "00"}), &["E spec.sha256"]),
            (json!({"url": "ftp://x"}), &["E spec.url"]),
        ],
    );
    check(
        Kind::TrafficExtension,
        &[(json!({}), &["E spec: there is no extension"]), (json!({"lua": {"inlineCode": "x"}}), &[])],
    );
    check(
        Kind::ProxyConfig,
        &[(
            json!({"concurrency": -1, "image": {"imageType": "alpine"}}),
            &["E spec.concurrency", "E spec.image.imageType"],
        )],
    );
    check(Kind::WorkloadGroup, &[(json!({}), &["E spec.template"])]);
    check(
        Kind::EnvoyFilter,
        &[(
            json!({"configPatches": [{"applyTo": "CLUSTER", "match": {"listener": {}}, "patch": {"operation": "MERGE"}}]}),
            &[
                "E spec.configPatches[0].patch.value",
                "E spec.configPatches[0].match: the match is for another",
            ],
        )],
    );
}
