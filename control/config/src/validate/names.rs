//! Names as Istio and Kubernetes allow them.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::path::Path;

use super::report::Report;

/// One part of a host name, at most 63 characters.
pub(crate) fn dns_label(text: &str) -> Result<(), String> {
    let good = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if text.is_empty()
        || text.len() > 63
        || !text.chars().all(good)
        || text.starts_with('-')
        || text.ends_with('-')
    {
        return Err(format!(
            "{text:?} is no name: letters, digits and dashes, at most 63, no dash at the ends"
        ));
    }
    Ok(())
}

/// A host name without wildcards, at most 255 characters; the short names of Kubernetes are host names too.
pub(crate) fn fqdn(host: &str) -> Result<(), String> {
    if host.is_empty() {
        return Err("the host is missing".to_owned());
    }
    if host.len() > 255 {
        return Err(format!("the host name has {} characters; at most 255 are allowed", host.len()));
    }
    let plain = host.strip_suffix('.').unwrap_or(host);
    for label in plain.split('.') {
        dns_label(label).map_err(|_| format!("{host:?} is no host name: {label:?} is no part of one"))?;
    }
    Ok(())
}

/// A host name that may begin with `*`.
pub(crate) fn wildcard_host(host: &str) -> Result<(), String> {
    if host == "*" {
        return Ok(());
    }
    if let Some(rest) = host.strip_prefix("*.") {
        return fqdn(rest);
    }
    if let Some(rest) = host.strip_prefix("*-") {
        return fqdn(rest);
    }
    if host.contains('*') {
        return Err(format!("{host:?}: a wildcard stands alone or as the first part, such as *.example.com"));
    }
    fqdn(host)
}

/// A namespace's or an object's name.
pub(crate) fn object_name(text: &str) -> Result<(), String> {
    let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '.';
    if text.is_empty() || text.len() > 253 || !text.chars().all(good) {
        return Err(format!("{text:?} is no name of an object: small letters, digits, dashes and dots"));
    }
    Ok(())
}

/// `host`, `namespace/host`, `./host` or `*/host`.
pub(crate) fn gateway_host(text: &str) -> Result<(), String> {
    let Some((namespace, host)) = text.split_once('/') else {
        return if text.parse::<IpAddr>().is_ok() { Ok(()) } else { wildcard_host(text) };
    };
    if !matches!(namespace, "*" | ".") {
        object_name(namespace)?;
    }
    wildcard_host(host)
}

/// `namespace/host`, with `.`, `*` and `~` for the namespace.
pub(crate) fn sidecar_host(text: &str) -> Result<(), String> {
    let Some((namespace, host)) = text.split_once('/') else {
        return Err(format!(
            "{text:?} lacks its namespace; write namespace/dnsName, such as ./* or istio-system/*"
        ));
    };
    if !matches!(namespace, "*" | "." | "~") {
        object_name(namespace)?;
    }
    wildcard_host(host)
}

/// `10.0.0.0/8` or a single address.
pub(crate) fn subnet(text: &str) -> Result<(), String> {
    if text.parse::<ipnet::IpNet>().is_ok() || text.parse::<IpAddr>().is_ok() {
        return Ok(());
    }
    Err(format!("{text:?} is no address and no range such as 10.0.0.0/8"))
}

/// A header's name.
pub(crate) fn header(name: &str) -> Result<(), String> {
    let token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    let plain = name.strip_prefix(':').unwrap_or(name);
    if plain.is_empty() || !plain.chars().all(token) {
        return Err(format!("{name:?} is no name of a header"));
    }
    Ok(())
}

/// Labels that select or are given.
pub(crate) fn labels(labels: &BTreeMap<String, String>, path: &Path, report: &mut Report) {
    for (key, value) in labels {
        let name = key.rsplit_once('/').map_or(key.as_str(), |(_, name)| name);
        let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if name.is_empty() || name.len() > 63 || !name.chars().all(good) {
            report.error(&path.key(key), format!("{key:?} is no key of a label"), "");
        }
        if value.len() > 63 || !value.chars().all(good) {
            let cure = if value.contains('*') { "wildcards select nothing; name the value" } else { "" };
            report.error(&path.key(key), format!("{value:?} is no value of a label"), cure);
        }
    }
}

/// `exportTo`.
pub(crate) fn export_to(targets: &[String], path: &Path, report: &mut Report) {
    for (position, target) in targets.iter().enumerate() {
        let path = path.index(position);
        if !matches!(target.as_str(), "." | "*" | "~") {
            report.name(
                &path,
                object_name(target).map_err(|_| format!("{target:?} is no namespace, and not `.` or `*`")),
            );
        }
        if targets[..position].contains(target) {
            report.error(&path, format!("{target:?} stands twice"), "remove one");
        }
    }
    if targets.len() > 1 && targets.iter().any(|target| matches!(target.as_str(), "*" | "~")) {
        report.error(path, "`*` and `~` stand alone", "name either everyone or the namespaces");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts() {
        for good in [
            "a",
            "a.b.svc.cluster.local",
            "*.example.com",
            "*",
            "*-x.com",
            "xn--a.de",
            "a_b.c",
            "example.com.",
        ] {
            assert_eq!(wildcard_host(good), Ok(()), "{good}");
        }
        for bad in ["", "a..b", "-a", "a-.b", "a.*.b", "http://a", "a b", "*a"] {
            assert!(wildcard_host(bad).is_err(), "{bad}");
        }
        assert!(fqdn(&"a.".repeat(200)).is_err());
        for good in ["ns/a.b", "./*", "*/a", "a", "10.0.0.1"] {
            assert_eq!(gateway_host(good), Ok(()), "{good}");
        }
        for (host, good) in [("a.b", false), ("~/*", true), ("Ns/*", false), ("ns/*.com", true)] {
            assert_eq!(sidecar_host(host).is_ok(), good, "{host}");
        }
    }
}
