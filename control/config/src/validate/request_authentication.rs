//! RequestAuthentication.

use crate::istio::RequestAuthentication;
use crate::istio::request_authentication::JwtRule;
use crate::path::Path;

use super::names;
use super::report::Report;

pub(super) fn check(spec: &RequestAuthentication, path: &Path, report: &mut Report) {
    if let Some(selector) = &spec.selector {
        names::labels(&selector.match_labels, &path.key("selector").key("matchLabels"), report);
    }
    for (position, rule) in spec.jwt_rules.iter().enumerate() {
        self::rule(rule, &path.key("jwtRules").index(position), report);
    }
}

fn rule(rule: &JwtRule, path: &Path, report: &mut Report) {
    report.required(&path.key("issuer"), &rule.issuer, "the issuer");
    if !rule.jwks_uri.is_empty()
        && !rule.jwks_uri.starts_with("http://")
        && !rule.jwks_uri.starts_with("https://")
    {
        report.error(
            &path.key("jwksUri"),
            format!("{:?} is no HTTP address", rule.jwks_uri),
            "write https://…",
        );
    }
    if !rule.jwks.is_empty() {
        let keys = serde_json::from_str::<serde_json::Value>(&rule.jwks).ok();
        if keys.as_ref().and_then(|keys| keys.get("keys")).and_then(serde_json::Value::as_array).is_none() {
            report.error(&path.key("jwks"), "is no set of keys", "write JSON with a list `keys`");
        }
    }
    for (position, header) in rule.from_headers.iter().enumerate() {
        report.name(&path.key("fromHeaders").index(position).key("name"), names::header(&header.name));
    }
    for (name, list) in [
        ("fromParams", &rule.from_params),
        ("fromCookies", &rule.from_cookies),
        ("audiences", &rule.audiences),
    ] {
        for (position, value) in list.iter().enumerate() {
            report.required(&path.key(name).index(position), value, "the name");
        }
    }
    for (position, claim) in rule.output_claim_to_headers.iter().enumerate() {
        let path = path.key("outputClaimToHeaders").index(position);
        report.name(&path.key("header"), names::header(&claim.header));
        report.required(&path.key("claim"), &claim.claim, "the claim");
    }
    report.duration(&path.key("timeout"), rule.timeout);
}
