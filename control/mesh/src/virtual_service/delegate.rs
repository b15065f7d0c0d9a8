//! When a delegating match and a delegated match can both hold, and what they are together.

use meltemi_config::istio::virtual_service::{HttpMatchRequest, StringMatch};

/// Both conditions as one. `None` when they exclude each other or cannot be said as one.
pub(super) fn merge_match(outer: &HttpMatchRequest, inner: &HttpMatchRequest) -> Option<HttpMatchRequest> {
    let mut merged = inner.clone();
    merged.uri = merge_string(&outer.uri, &inner.uri)?;
    merged.scheme = merge_string(&outer.scheme, &inner.scheme)?;
    merged.method = merge_string(&outer.method, &inner.method)?;
    merged.authority = merge_string(&outer.authority, &inner.authority)?;
    for (mine, theirs) in [
        (&mut merged.headers, &outer.headers),
        (&mut merged.without_headers, &outer.without_headers),
        (&mut merged.query_params, &outer.query_params),
    ] {
        for (name, condition) in theirs {
            if mine.insert(name.clone(), condition.clone()).is_some_and(|own| own != *condition) {
                return None;
            }
        }
    }
    for (name, value) in &outer.source_labels {
        if merged.source_labels.insert(name.clone(), value.clone()).is_some_and(|own| own != *value) {
            return None;
        }
    }
    merged.port = one_of(outer.port, inner.port)?;
    merged.source_namespace = one_of(outer.source_namespace.clone(), inner.source_namespace.clone())?;
    merged.ignore_uri_case |= outer.ignore_uri_case;
    if merged.gateways.is_empty() {
        merged.gateways.clone_from(&outer.gateways);
    }
    Some(merged)
}

fn one_of<T: Default + PartialEq>(outer: T, inner: T) -> Option<T> {
    if outer == T::default() || outer == inner {
        return Some(inner);
    }
    (inner == T::default()).then_some(outer)
}

/// The narrower of two conditions; the outer `None` means that they exclude each other.
fn merge_string(outer: &Option<StringMatch>, inner: &Option<StringMatch>) -> Option<Option<StringMatch>> {
    use StringMatch::{Any, Exact, Prefix, Regex};
    match (outer, inner) {
        (None | Some(Any), other) | (other, None | Some(Any)) => Some(other.clone()),
        (Some(Prefix(p)), Some(Exact(e) | Prefix(e))) if e.starts_with(p) => Some(inner.clone()),
        (Some(a), Some(b)) if a == b => Some(inner.clone()),
        (Some(Exact(_) | Prefix(_) | Regex(_)), Some(_)) => None,
    }
}
