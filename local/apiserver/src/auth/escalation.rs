//! Nobody hands out more than they have: who writes roles or bindings must hold what these grant, or one of the verbs
//! `escalate` (on the role) and `bind` (on the role that a binding names).

use super::User;
use super::rbac::{self, Attributes, rule_allows};
use crate::api::Call;
use crate::error::{ApiError, Result};
use crate::object::{list, map, name, namespace, text};
use crate::store::{Store, key};
use serde_json::{Value, json};

const GROUP: &str = "rbac.authorization.k8s.io";

/// Checks a write of a role or binding; everything else passes.
pub fn check(call: &Call, value: &Value, old: Option<&Value>) -> Result<()> {
    if call.resource.group != GROUP || call.user.is_admin() {
        return Ok(());
    }
    match call.resource.plural.as_str() {
        "roles" | "clusterroles" => role(call, value, old),
        "rolebindings" | "clusterrolebindings" => binding(call, value, old),
        _ => Ok(()),
    }
}

fn unchanged(value: &Value, old: Option<&Value>, fields: &[&str]) -> bool {
    old.is_some_and(|old| fields.iter().all(|field| old.pointer(field) == value.pointer(field)))
}

fn role(call: &Call, role: &Value, old: Option<&Value>) -> Result<()> {
    if unchanged(role, old, &["/rules", "/aggregationRule"])
        || may(call, "escalate", &call.resource.plural, name(role), namespace(role))
    {
        return Ok(());
    }
    let mut granted = list(role, "/rules").to_vec();
    // What other roles will add to it nobody can tell.
    if map(role, "/aggregationRule").is_some() {
        granted.push(json!({"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}));
        granted.push(json!({"verbs": ["*"], "nonResourceURLs": ["*"]}));
    }
    holds(call, role, &granted)
}

fn binding(call: &Call, binding: &Value, old: Option<&Value>) -> Result<()> {
    if unchanged(binding, old, &["/roleRef", "/subjects"]) {
        return Ok(());
    }
    let wanted = text(binding, "/roleRef/name");
    let of_cluster = text(binding, "/roleRef/kind") == "ClusterRole";
    let plural = if of_cluster { "clusterroles" } else { "roles" };
    if may(call, "bind", plural, wanted, namespace(binding)) {
        return Ok(());
    }
    let place = if of_cluster { wanted.to_owned() } else { key(namespace(binding), wanted) };
    if call.core.store.get(&format!("{GROUP}/{plural}"), &place).is_none() {
        return Err(ApiError::not_found(&format!("{plural}.{GROUP}"), wanted));
    }
    holds(call, binding, &rbac::role_rules(&call.core.store, binding, namespace(binding)))
}

fn may(call: &Call, verb: &str, resource: &str, name: &str, namespace: &str) -> bool {
    let wanted = Attributes { verb, group: GROUP, resource, name, namespace, ..Attributes::default() };
    rbac::allowed(&call.core.store, &call.user, &wanted)
}

/// Whether the caller holds all of the rules where they are to be granted.
fn holds(call: &Call, value: &Value, granted: &[Value]) -> Result<()> {
    let missing = missing(&call.core.store, &call.user, namespace(value), granted);
    if missing.is_empty() {
        return Ok(());
    }
    let text = format!(
        "user {:?} (groups={:?}) is attempting to grant RBAC permissions not currently held:\n{}",
        call.user.name,
        call.user.groups,
        missing.join("\n")
    );
    Err(ApiError::forbidden(&call.resource.qualified(), name(value), text))
}

/// The rules of which the user lacks a part, as text.
fn missing(store: &Store, user: &User, namespace: &str, granted: &[Value]) -> Vec<String> {
    let own = rbac::rules_for(store, user, namespace);
    granted.iter().filter(|rule| !covered(&own, rule)).map(Value::to_string).collect()
}

/// Whether a set of rules allows everything that one rule does.
fn covered(own: &[Value], rule: &Value) -> bool {
    let strings = |field: &str| list(rule, field).iter().filter_map(Value::as_str);
    let is_held = |wanted: &Attributes<'_>| own.iter().any(|held| rule_allows(held, wanted));
    let mut names: Vec<&str> = strings("/resourceNames").collect();
    if names.is_empty() {
        names.push("");
    }
    strings("/verbs").all(|verb| {
        let plain = Attributes { verb, ..Attributes::default() };
        let paths = strings("/nonResourceURLs").all(|path| is_held(&Attributes { path, ..plain.clone() }));
        let resources = strings("/apiGroups").all(|group| {
            strings("/resources").all(|full| {
                let (resource, subresource) = full.split_once('/').unwrap_or((full, ""));
                let wanted = Attributes { group, resource, subresource, ..plain.clone() };
                names.iter().all(|name| is_held(&Attributes { name, ..wanted.clone() }))
            })
        });
        paths && resources
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_is_covered_when_all_its_parts_are() {
        let own = [
            json!({"verbs": ["get", "list"], "apiGroups": ["", "apps"], "resources": ["*"]}),
            json!({"verbs": ["*"], "apiGroups": [""], "resources": ["pods", "pods/exec"]}),
            json!({"verbs": ["get"], "apiGroups": ["x"], "resources": ["things"], "resourceNames": ["a"]}),
            json!({"verbs": ["get"], "nonResourceURLs": ["/api/*"]}),
        ];
        for (rule, held) in [
            (json!({"verbs": ["get"], "apiGroups": ["apps"], "resources": ["deployments"]}), true),
            (json!({"verbs": ["get", "delete"], "apiGroups": ["", "apps"], "resources": ["pods"]}), false),
            (json!({"verbs": ["delete"], "apiGroups": [""], "resources": ["pods", "pods/exec"]}), true),
            (json!({"verbs": ["*"], "apiGroups": [""], "resources": ["pods"]}), true),
            (json!({"verbs": ["*"], "apiGroups": ["apps"], "resources": ["deployments"]}), false),
            (json!({"verbs": ["get"], "apiGroups": ["*"], "resources": ["pods"]}), false),
            (
                json!({"verbs": ["get"], "apiGroups": ["x"], "resources": ["things"], "resourceNames": ["a"]}),
                true,
            ),
            (json!({"verbs": ["get"], "apiGroups": ["x"], "resources": ["things"]}), false),
            (json!({"verbs": ["get"], "nonResourceURLs": ["/api/v1"]}), true),
            (json!({"verbs": ["get"], "nonResourceURLs": ["/metrics"]}), false),
        ] {
            assert_eq!(covered(&own, &rule), held, "{rule}");
        }
    }
}
