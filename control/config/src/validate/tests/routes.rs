//! VirtualServices.

use serde_json::json;

use super::{check, to, vs};
use crate::Kind;

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
