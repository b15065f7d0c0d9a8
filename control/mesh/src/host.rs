//! Host names as Istio's objects write them: short names, wildcards, and which of two is more specific.

use std::cmp::Ordering;

/// The full name of a host written in an object of `namespace`.
///
/// A name without a dot is a Kubernetes service of the object's own namespace; everything else is already complete.
pub fn resolve(host: &str, namespace: &str, domain: &str) -> String {
    if host.is_empty() || host.starts_with('*') || host.contains('.') {
        return host.to_ascii_lowercase();
    }
    service_hostname(&host.to_ascii_lowercase(), namespace, domain)
}

/// The host name of the Kubernetes service `name` in `namespace`.
pub fn service_hostname(name: &str, namespace: &str, domain: &str) -> String {
    format!("{name}.{namespace}.svc.{domain}")
}

/// True for `*` and `*.suffix`.
pub fn is_wildcard(host: &str) -> bool {
    host.starts_with('*')
}

/// Does every name that `name` stands for also match `pattern`? Either may be a wildcard.
pub fn covered_by(name: &str, pattern: &str) -> bool {
    match pattern.strip_prefix('*') {
        None => name == pattern,
        Some("") => true,
        Some(suffix) => {
            let name = name.strip_prefix('*').unwrap_or(name);
            name.len() >= suffix.len() && name.ends_with(suffix) && (is_covered_whole(name, suffix))
        }
    }
}

fn is_covered_whole(name: &str, suffix: &str) -> bool {
    // `*.a.com` covers `*.a.com` itself and `b.a.com`, but not the bare `.a.com`.
    name.len() > suffix.len() || name == suffix
}

/// Do the two patterns have a name in common?
pub fn overlaps(a: &str, b: &str) -> bool {
    covered_by(a, b) || covered_by(b, a)
}

/// Orders the more specific host first: exact names before wildcards, long wildcards before short ones, then by name.
pub fn specificity(a: &str, b: &str) -> Ordering {
    is_wildcard(a)
        .cmp(&is_wildcard(b))
        .then_with(|| if is_wildcard(a) { b.len().cmp(&a.len()) } else { Ordering::Equal })
        .then_with(|| a.cmp(b))
}

/// The most specific of `patterns` that covers `name`.
pub fn most_specific<'a, T>(
    name: &str,
    patterns: impl Iterator<Item = (&'a str, T)>,
) -> Option<(&'a str, T)> {
    patterns.filter(|(pattern, _)| covered_by(name, pattern)).min_by(|a, b| specificity(a.0, b.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_names_belong_to_the_namespace_of_the_object() {
        assert_eq!(resolve("reviews", "shop", "cluster.local"), "reviews.shop.svc.cluster.local");
        assert_eq!(resolve("reviews.shop", "x", "cluster.local"), "reviews.shop");
        assert_eq!(resolve("*", "x", "cluster.local"), "*");
        assert_eq!(resolve("API.Example.com", "x", "cluster.local"), "api.example.com");
    }

    #[test]
    fn wildcards_cover_names_and_narrower_wildcards() {
        assert!(covered_by("a.example.com", "*.example.com"));
        assert!(covered_by("*.a.example.com", "*.example.com"));
        assert!(covered_by("*.example.com", "*.example.com"));
        assert!(covered_by("anything", "*"));
        assert!(!covered_by("example.com", "*.example.com"));
        assert!(!covered_by("*.example.com", "a.example.com"));
        assert!(overlaps("*.example.com", "a.example.com"));
    }

    #[test]
    fn the_most_specific_pattern_wins() {
        let patterns = ["*", "*.com", "*.example.com", "a.example.com"].map(|p| (p, ()));
        let best = |name| most_specific(name, patterns.into_iter()).map(|(p, ())| p);
        assert_eq!(best("a.example.com"), Some("a.example.com"));
        assert_eq!(best("b.example.com"), Some("*.example.com"));
        assert_eq!(best("b.org"), Some("*"));
    }
}
