//! Label maps and selectors.

use std::collections::BTreeMap;

/// Labels as Kubernetes writes them.
pub type Labels = BTreeMap<String, String>;

/// Are all of `selector` among `labels`? An empty selector is among any.
pub fn contains(labels: &Labels, selector: &Labels) -> bool {
    selector.iter().all(|(key, value)| labels.get(key) == Some(value))
}

/// `service.istio.io/canonical-name`, else `app.kubernetes.io/name`, else `app`, else the workload's name.
pub fn canonical_name<'a>(labels: &'a Labels, workload: &'a str) -> &'a str {
    first(labels, ["service.istio.io/canonical-name", "app.kubernetes.io/name", "app"]).unwrap_or(workload)
}

/// `service.istio.io/canonical-revision`, else `app.kubernetes.io/version`, else `version`, else `latest`.
pub fn canonical_revision(labels: &Labels) -> &str {
    first(labels, ["service.istio.io/canonical-revision", "app.kubernetes.io/version", "version"])
        .unwrap_or("latest")
}

/// The first of these labels that says something.
fn first<'a>(labels: &'a Labels, keys: [&str; 3]) -> Option<&'a str> {
    keys.iter().find_map(|key| labels.get(*key).map(String::as_str).filter(|value| !value.is_empty()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn canonical_names_fall_back_in_istios_order() {
        let labels = |pairs: &[(&str, &str)]| -> Labels {
            pairs.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect()
        };
        let both = labels(&[("app", "a"), ("app.kubernetes.io/name", "b"), ("version", "v1")]);
        assert_eq!(canonical_name(&both, "w"), "b");
        assert_eq!(canonical_revision(&both), "v1");
        let empty = labels(&[("app.kubernetes.io/name", ""), ("app", "a")]);
        assert_eq!(canonical_name(&empty, "w"), "a", "as injection says it");
        assert_eq!(canonical_name(&Labels::new(), "w"), "w");
        assert_eq!(canonical_revision(&Labels::new()), "latest");
        assert!(contains(&both, &Labels::new()));
        assert!(!contains(&Labels::new(), &both));
    }
}
