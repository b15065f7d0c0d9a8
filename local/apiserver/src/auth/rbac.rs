//! Role-based access control over the stored roles and bindings. What no rule allows is refused.

use super::User;
use crate::error::ApiError;
use crate::object::{list, map, text};
use crate::selector::LabelSelector;
use crate::store::{Store, key};
use serde_json::Value;

/// What the caller wants to do.
#[derive(Debug, Clone, Default)]
pub struct Attributes<'a> {
    /// The verb (`get`, `list`, … or the lower-case HTTP method for paths).
    pub verb: &'a str,
    /// API group.
    pub group: &'a str,
    /// Plural resource; "" for a path.
    pub resource: &'a str,
    /// Sub-resource.
    pub subresource: &'a str,
    /// Namespace, "" for cluster scope.
    pub namespace: &'a str,
    /// Object name.
    pub name: &'a str,
    /// The path, when it is no resource.
    pub path: &'a str,
}

/// Paths that everybody may read.
const PUBLIC: &[&str] = &["/healthz", "/livez", "/readyz", "/version"];

/// Whether the caller may.
pub fn allowed(store: &Store, user: &User, wanted: &Attributes<'_>) -> bool {
    if user.is_admin() {
        return true;
    }
    if wanted.resource.is_empty() && is_public(wanted) {
        return true;
    }
    let cluster = store.list("rbac.authorization.k8s.io/clusterrolebindings", "");
    if cluster.items.iter().any(|(_, b)| binding_allows(store, user, &b.value, "", wanted)) {
        return true;
    }
    if wanted.namespace.is_empty() {
        return false;
    }
    let prefix = format!("{}/", wanted.namespace);
    let local = store.list("rbac.authorization.k8s.io/rolebindings", &prefix);
    local.items.iter().any(|(_, b)| binding_allows(store, user, &b.value, wanted.namespace, wanted))
}

fn is_public(wanted: &Attributes<'_>) -> bool {
    let below = |p: &str| wanted.path == p || wanted.path.strip_prefix(p).is_some_and(|r| r.starts_with('/'));
    wanted.verb == "get" && PUBLIC.iter().any(|p| below(p))
}

/// The 403 for a refusal, worded as kubectl users know it.
pub fn refusal(user: &User, wanted: &Attributes<'_>) -> ApiError {
    if wanted.resource.is_empty() {
        let text = format!("forbidden: User {:?} cannot {} path {:?}", user.name, wanted.verb, wanted.path);
        return ApiError::custom(http::StatusCode::FORBIDDEN, "Forbidden", text);
    }
    let resource = match wanted.subresource {
        "" => wanted.resource.to_owned(),
        sub => format!("{}/{sub}", wanted.resource),
    };
    let place = match wanted.namespace {
        "" => "at the cluster scope".to_owned(),
        ns => format!("in the namespace {ns:?}"),
    };
    let text = format!(
        "User {:?} cannot {} resource {resource:?} in API group {:?} {place}",
        user.name, wanted.verb, wanted.group
    );
    let qualified = if wanted.group.is_empty() {
        wanted.resource.to_owned()
    } else {
        format!("{}.{}", wanted.resource, wanted.group)
    };
    ApiError::forbidden(&qualified, wanted.name, text)
}

/// All rules that apply to a user in a namespace (for `kubectl auth can-i --list`).
pub fn rules_for(store: &Store, user: &User, namespace: &str) -> Vec<Value> {
    let mut out = Vec::new();
    let cluster = store.list("rbac.authorization.k8s.io/clusterrolebindings", "").items;
    let local = store.list("rbac.authorization.k8s.io/rolebindings", &format!("{namespace}/")).items;
    let places = std::iter::repeat_n("", cluster.len()).chain(std::iter::repeat_n(namespace, local.len()));
    for ((_, binding), place) in cluster.iter().chain(&local).zip(places) {
        if is_subject(user, &binding.value, place) {
            out.extend(role_rules(store, &binding.value, place));
        }
    }
    out
}

fn binding_allows(
    store: &Store,
    user: &User,
    binding: &Value,
    namespace: &str,
    wanted: &Attributes<'_>,
) -> bool {
    is_subject(user, binding, namespace)
        && role_rules(store, binding, namespace).iter().any(|r| rule_allows(r, wanted))
}

fn is_subject(user: &User, binding: &Value, namespace: &str) -> bool {
    list(binding, "/subjects").iter().any(|subject| match text(subject, "/kind") {
        "User" => text(subject, "/name") == user.name,
        "Group" => user.groups.iter().any(|g| g == text(subject, "/name")),
        "ServiceAccount" => {
            let own = text(subject, "/namespace");
            let place = if own.is_empty() { namespace } else { own };
            user.name == format!("system:serviceaccount:{place}:{}", text(subject, "/name"))
        }
        _ => false,
    })
}

/// The rules of the role that a binding in a namespace names.
pub(super) fn role_rules(store: &Store, binding: &Value, namespace: &str) -> Vec<Value> {
    let role = text(binding, "/roleRef/name");
    if text(binding, "/roleRef/kind") == "Role" {
        let stored = store.get("rbac.authorization.k8s.io/roles", &key(namespace, role));
        return stored.map(|s| list(&s.value, "/rules").to_vec()).unwrap_or_default();
    }
    let Some(stored) = store.get("rbac.authorization.k8s.io/clusterroles", role) else { return Vec::new() };
    let mut rules = list(&stored.value, "/rules").to_vec();
    for selector in list(&stored.value, "/aggregationRule/clusterRoleSelectors") {
        let selector = LabelSelector::from_object(Some(selector));
        for (_, other) in store.list("rbac.authorization.k8s.io/clusterroles", "").items {
            if selector.matches(&other.value) && map(&other.value, "/aggregationRule").is_none() {
                rules.extend_from_slice(list(&other.value, "/rules"));
            }
        }
    }
    rules
}

fn has(rule: &Value, field: &str, wanted: &str) -> bool {
    list(rule, field).iter().any(|v| v == "*" || v == wanted)
}

/// Whether one rule allows the attributes.
pub fn rule_allows(rule: &Value, wanted: &Attributes<'_>) -> bool {
    if !has(rule, "/verbs", wanted.verb) {
        return false;
    }
    if wanted.resource.is_empty() {
        return list(rule, "/nonResourceURLs").iter().filter_map(Value::as_str).any(|pattern| {
            pattern == wanted.path || pattern.strip_suffix('*').is_some_and(|p| wanted.path.starts_with(p))
        });
    }
    let names = list(rule, "/resourceNames");
    let full = match wanted.subresource {
        "" => wanted.resource.to_owned(),
        sub => format!("{}/{sub}", wanted.resource),
    };
    let any_with_sub = format!("*/{}", wanted.subresource);
    has(rule, "/apiGroups", wanted.group)
        && list(rule, "/resources").iter().any(|v| {
            v == "*" || v == full.as_str() || (!wanted.subresource.is_empty() && v == any_with_sub.as_str())
        })
        && (names.is_empty() || names.iter().any(|n| n == wanted.name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn rules_match_verbs_groups_resources_and_names() {
        let rule = json!({"verbs": ["get", "list"], "apiGroups": [""], "resources": ["pods", "pods/log"], "resourceNames": []});
        let wanted = Attributes { verb: "get", resource: "pods", namespace: "a", ..Attributes::default() };
        assert!(rule_allows(&rule, &wanted));
        assert!(rule_allows(&rule, &Attributes { subresource: "log", ..wanted.clone() }));
        assert!(!rule_allows(&rule, &Attributes { subresource: "exec", ..wanted.clone() }));
        assert!(!rule_allows(&rule, &Attributes { verb: "delete", ..wanted.clone() }));
        assert!(!rule_allows(&rule, &Attributes { group: "apps", ..wanted.clone() }));
        let named = json!({"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "resourceNames": ["x"]});
        assert!(!rule_allows(&named, &wanted));
        assert!(rule_allows(&named, &Attributes { name: "x", ..wanted }));
    }

    #[test]
    fn paths_match_by_prefix_star() {
        let rule = json!({"verbs": ["get"], "nonResourceURLs": ["/api/*", "/metrics"]});
        let path = |path| Attributes { verb: "get", path, ..Attributes::default() };
        assert!(rule_allows(&rule, &path("/api/v1")));
        assert!(rule_allows(&rule, &path("/metrics")));
        assert!(!rule_allows(&rule, &path("/metrics/x")));
    }
}
