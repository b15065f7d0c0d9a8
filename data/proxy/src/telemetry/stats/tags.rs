//! Tags: parts of a dotted name that Prometheus shows as labels.

use std::sync::Arc;

use regex_automata::meta::Regex;

use super::group::Labels;

/// A name without its tags, and the tags.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Extracted {
    /// What remains of the name.
    pub name: String,
    /// Tag names and values.
    pub tags: Labels,
}

/// How one tag is found: by a regular expression whose first group is cut out of the name and whose second, or else first,
/// group is the value; or fixed.
#[derive(Clone, Debug)]
pub enum Tag {
    /// A fixed tag of every statistic.
    Fixed(Arc<str>, Arc<str>),
    /// A tag found in the name.
    Pattern(Arc<str>, Regex),
}

/// Envoy's default tags that its Prometheus users know: the label and the pattern.
const DEFAULTS: &[(&str, &str)] = &[
    ("envoy.response_code", r"_rq(_(\d{3}))$"),
    ("envoy.response_code_class", r"_rq_((\d))xx$"),
    ("envoy.cluster_name", r"^cluster\.((.+?)\.)"),
    ("envoy.http_conn_manager_prefix", r"^http\.((.+?)\.)"),
    ("envoy.http_conn_manager_listener_prefix", r"^listener\..*?\.http\.((.+?)\.)"),
    ("envoy.listener_address", r"^listener\.((.+?)\.)"),
    ("envoy.tcp_prefix", r"^tcp\.((.+?)\.)"),
    ("envoy.virtual_host", r"^vhost\.((.+?)\.)"),
    ("envoy.route", r"^vhost\.[^.]+\.route\.((.+?)\.)"),
    ("envoy.worker_id", r"(worker_(\d+)\.)"),
];

/// Envoy's default tags.
pub fn defaults() -> Vec<Tag> {
    DEFAULTS
        .iter()
        .filter_map(|(name, pattern)| Some(Tag::Pattern((*name).into(), Regex::new(pattern).ok()?)))
        .collect()
}

/// Compiles a tag's pattern. Look-ahead, which Rust's engine lacks, is dropped where it only repeats what follows.
///
/// # Errors
/// The reason why the pattern cannot be compiled.
pub fn pattern(regex: &str) -> Result<Regex, String> {
    let regex = regex.replace(r"(?=\.)", "");
    Regex::new(&regex).map_err(|error| error.to_string())
}

/// Takes all tags out of a name, each looking at the name that Envoy gave it, as Envoy does.
pub fn extract(tags: &[Tag], name: &str) -> Extracted {
    let mut cuts: Vec<(usize, usize)> = Vec::new();
    let mut found = Labels::new();
    for tag in tags {
        match tag {
            Tag::Fixed(label, value) => found.push((label.clone(), value.clone())),
            Tag::Pattern(label, regex) => {
                let mut captures = regex.create_captures();
                regex.captures(name, &mut captures);
                let Some(cut) = captures.get_group(1) else { continue };
                let value = captures.get_group(2).unwrap_or(cut);
                found.push((label.clone(), name[value.range()].into()));
                cuts.push((cut.start, cut.end));
            }
        }
    }
    Extracted { name: without(name, cuts), tags: found }
}

fn without(name: &str, mut cuts: Vec<(usize, usize)>) -> String {
    cuts.sort_unstable();
    let mut rest = String::with_capacity(name.len());
    let mut at = 0;
    for (start, end) in cuts {
        if start >= at {
            rest.push_str(&name[at..start]);
        }
        at = at.max(end);
    }
    rest.push_str(&name[at..]);
    rest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tag(label: &str, regex: &str) -> Tag {
        Tag::Pattern(label.into(), pattern(regex).unwrap())
    }

    fn show(tags: &[Tag], name: &str) -> String {
        let found = extract(tags, name);
        let tags: Vec<_> = found.tags.iter().map(|(k, v)| format!("{k}={v}")).collect();
        format!("{} {}", found.name, tags.join(","))
    }

    #[test]
    fn istios_cluster_pattern_keeps_the_dots_of_a_host() {
        let tags = [tag("cluster_name", r"^cluster\.((.+?(\..+?\.svc\.cluster\.local)?)\.)")];
        assert_eq!(
            show(&tags, "cluster.outbound|80||a.b.svc.cluster.local.upstream_rq_total"),
            "cluster.upstream_rq_total cluster_name=outbound|80||a.b.svc.cluster.local"
        );
        assert_eq!(
            show(&tags, "cluster.xds-grpc.upstream_cx_active"),
            "cluster.upstream_cx_active cluster_name=xds-grpc"
        );
    }

    #[test]
    fn addresses_end_where_names_begin() {
        let tags = [
            tag("prefix", r"^http\.(((?:inbound_|outbound_)?[_.\[\]0-9a-fA-F]+;?|[^.;]+)\.)"),
            tag("address", r"^listener\.(([_.\[\]0-9a-fA-F]+;?|[^.;]+)\.)"),
        ];
        for (name, expected) in [
            (
                "http.inbound_0.0.0.0_9080;.downstream_rq_total",
                "http.downstream_rq_total prefix=inbound_0.0.0.0_9080;",
            ),
            (
                "http.outbound_10.0.0.1_80.downstream_cx_active",
                "http.downstream_cx_active prefix=outbound_10.0.0.1_80",
            ),
            ("http.admin.downstream_cx_active", "http.downstream_cx_active prefix=admin"),
            (
                "listener.0.0.0.0_15006.downstream_cx_active",
                "listener.downstream_cx_active address=0.0.0.0_15006",
            ),
            ("listener.[__]_15090.downstream_cx_total", "listener.downstream_cx_total address=[__]_15090"),
        ] {
            assert_eq!(show(&tags, name), expected);
        }
    }

    #[test]
    fn several_tags_leave_one_name() {
        let tags = [tag("response_code", r"_rq(_(\d{3}))$"), tag("cluster_name", r"^cluster\.((.+?)\.)")];
        assert_eq!(
            show(&tags, "cluster.a.upstream_rq_503"),
            "cluster.upstream_rq response_code=503,cluster_name=a"
        );
    }

    #[test]
    fn default_patterns_compile() {
        assert_eq!(defaults().len(), DEFAULTS.len());
        assert_eq!(
            show(&defaults(), "listener.0.0.0.0_80.http.in.downstream_rq_2xx").split(' ').next(),
            Some("listener.0.0.0_80.http.downstream_rq_xx"),
        );
    }
}
