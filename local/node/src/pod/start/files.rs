//! The files in /etc that are a pod's own.

use std::collections::BTreeMap;
use std::fmt::Write;

use k8s_openapi::api::core::v1::{Pod, PodSpec};

use crate::dns;
use crate::pod::env::Facts;

/// The pod's host name: its own choice, or its name cut to what a host name may hold.
pub(super) fn hostname(pod: &Pod) -> String {
    let chosen = pod.spec.as_ref().and_then(|s| s.hostname.clone()).filter(|h| !h.is_empty());
    let mut name = chosen.or_else(|| pod.metadata.name.clone()).unwrap_or_default();
    name.truncate(name.floor_char_boundary(63));
    name.trim_end_matches(['-', '.']).to_owned()
}

/// All of them by path.
pub(super) fn etc(pod: &Pod, facts: &Facts, hostname: &str, uid: u32) -> BTreeMap<String, Vec<u8>> {
    let empty = PodSpec::default();
    let spec = pod.spec.as_ref().unwrap_or(&empty);
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    let texts = [
        ("/etc/hostname", format!("{hostname}\n")),
        ("/etc/hosts", hosts(spec, namespace, facts, hostname)),
        ("/etc/resolv.conf", resolv_conf(spec, namespace)),
        (
            "/etc/nsswitch.conf",
            "passwd: files\ngroup: files\nhosts: files dns\nservices: files\nprotocols: files\n".into(),
        ),
        ("/etc/passwd", passwd(uid)),
        ("/etc/group", "root:x:0:\ntty:x:5:\nnogroup:x:65534:\nistio-proxy:x:1337:\n".into()),
        ("/etc/os-release", "ID=meltemi\nNAME=\"Meltemi pod\"\nPRETTY_NAME=\"Meltemi pod\"\n".into()),
    ];
    texts.into_iter().map(|(path, text)| (path.to_owned(), text.into_bytes())).collect()
}

fn passwd(uid: u32) -> String {
    let mut text = String::from(
        "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\nistio-proxy:x:1337:1337:istio-proxy:/home/istio-proxy:/bin/sh\n",
    );
    if ![0, 1337, 65534].contains(&uid) {
        let _ = writeln!(text, "user:x:{uid}:{uid}:user:/:/bin/sh");
    }
    text
}

fn hosts(spec: &PodSpec, namespace: &str, facts: &Facts, hostname: &str) -> String {
    let mut text = String::from(
        "# Made by the node for this pod.\n127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n",
    );
    let full = spec.subdomain.as_ref().filter(|s| !s.is_empty());
    let full = full.map(|s| format!("{hostname}.{s}.{namespace}.svc.{}\t", dns::DOMAIN)).unwrap_or_default();
    let _ = writeln!(text, "{}\t{full}{hostname}", facts.pod_ip);
    for alias in spec.host_aliases.iter().flatten() {
        let names = alias.hostnames.clone().unwrap_or_default().join("\t");
        let _ = writeln!(text, "{}\t{names}", alias.ip);
    }
    text
}

fn resolv_conf(spec: &PodSpec, namespace: &str) -> String {
    let config = spec.dns_config.as_ref();
    if spec.dns_policy.as_deref() != Some("None") && config.is_none() {
        return dns::resolv_conf(namespace);
    }
    let none = spec.dns_policy.as_deref() == Some("None");
    let base = if none { String::new() } else { dns::resolv_conf(namespace) };
    let pick = |key: &str| -> Vec<String> {
        let lines = base.lines().filter_map(|l| l.strip_prefix(key));
        lines.flat_map(|l| l.split_whitespace().map(str::to_owned).collect::<Vec<_>>()).collect()
    };
    let with = |key: &str, more: Option<&Vec<String>>| -> Vec<String> {
        pick(key).into_iter().chain(more.into_iter().flatten().cloned()).collect()
    };
    let servers = with("nameserver ", config.and_then(|c| c.nameservers.as_ref()));
    let searches = with("search ", config.and_then(|c| c.searches.as_ref()));
    let given = config.iter().flat_map(|c| c.options.iter().flatten()).filter_map(|o| {
        let name = o.name.clone()?;
        Some(o.value.as_ref().map_or(name.clone(), |value| format!("{name}:{value}")))
    });
    let given: Vec<String> = given.collect();
    let mut options = pick("options ");
    options.retain(|o| !given.iter().any(|g| g.split(':').next() == o.split(':').next()));
    options.extend(given);
    let mut text = String::new();
    if !searches.is_empty() {
        let _ = writeln!(text, "search {}", searches.join(" "));
    }
    for server in servers {
        let _ = writeln!(text, "nameserver {server}");
    }
    if !options.is_empty() {
        let _ = writeln!(text, "options {}", options.join(" "));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn spec(json: serde_json::Value) -> PodSpec {
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn dns_settings_are_merged() {
        let plain = resolv_conf(&spec(json!({"containers": []})), "ns");
        assert_eq!(
            plain,
            "search ns.svc.cluster.local svc.cluster.local cluster.local\nnameserver 10.96.0.10\noptions ndots:5\n"
        );
        let more = spec(
            json!({"containers": [], "dnsConfig": {"searches": ["x.y"], "options": [{"name": "ndots", "value": "1"}]}}),
        );
        let text = resolv_conf(&more, "ns");
        assert!(text.contains("cluster.local x.y\n") && text.contains("options ndots:1\n"), "{text}");
        let own =
            spec(json!({"containers": [], "dnsPolicy": "None", "dnsConfig": {"nameservers": ["1.1.1.1"]}}));
        assert_eq!(resolv_conf(&own, "ns"), "nameserver 1.1.1.1\n");
    }

    #[test]
    fn host_names() {
        let pod = |json| -> Pod { serde_json::from_value(json).unwrap() };
        assert_eq!(hostname(&pod(json!({"metadata": {"name": "web-1"}}))), "web-1");
        assert_eq!(
            hostname(&pod(json!({"metadata": {"name": "x"}, "spec": {"containers": [], "hostname": "own"}}))),
            "own"
        );
        let long = format!("{}-tail", "a".repeat(62));
        assert_eq!(hostname(&pod(json!({"metadata": {"name": long}}))), "a".repeat(62));
        let facts = Facts { pod_ip: "10.244.0.5".into(), ..Facts::default() };
        let spec = spec(
            json!({"containers": [], "subdomain": "db", "hostAliases": [{"ip": "1.2.3.4", "hostnames": ["a"]}]}),
        );
        let text = hosts(&spec, "ns", &facts, "db-0");
        assert!(text.contains("10.244.0.5\tdb-0.db.ns.svc.cluster.local\tdb-0\n1.2.3.4\ta\n"), "{text}");
    }
}
