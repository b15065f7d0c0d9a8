//! Security, telemetry and extensions.

use serde_json::json;

use super::check;
use crate::Kind;

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
