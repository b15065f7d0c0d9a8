//! What a request asks for: its path taken apart, its query, and the representation it wants.

use crate::auth::rbac::Attributes;
use http::{HeaderMap, Method, header};
use std::collections::HashMap;

/// The parts of a resource path.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ResourcePath {
    /// API group, "" for core.
    pub group: String,
    /// API version.
    pub version: String,
    /// Namespace, "" if none.
    pub namespace: String,
    /// Plural resource name.
    pub plural: String,
    /// Object name, "" for the collection.
    pub name: String,
    /// Sub-resource, "" if none.
    pub subresource: String,
}

impl ResourcePath {
    /// What authorization is asked about a verb on it.
    pub fn attributes<'a>(&'a self, verb: &'a str) -> Attributes<'a> {
        Attributes {
            verb,
            group: &self.group,
            resource: &self.plural,
            subresource: &self.subresource,
            namespace: if self.plural == "namespaces" { &self.name } else { &self.namespace },
            name: &self.name,
            path: "",
        }
    }
}

/// Takes a path such as `/apis/apps/v1/namespaces/a/deployments/b/scale` apart. The flag tells the old `/watch/` form.
pub fn parse_path(path: &str) -> Option<(ResourcePath, bool)> {
    let mut parts = path.trim_matches('/').split('/').map(decode).collect::<Option<Vec<_>>>()?.into_iter();
    let (group, version) = match parts.next()?.as_str() {
        "api" => (String::new(), parts.next()?),
        "apis" => (parts.next()?, parts.next()?),
        _ => return None,
    };
    let mut rest: Vec<String> = parts.collect();
    let watch = rest.first().is_some_and(|p| p == "watch");
    if watch {
        rest.remove(0);
    }
    let mut out = ResourcePath { group, version, ..ResourcePath::default() };
    if rest.first().is_some_and(|p| p == "namespaces") && rest.len() > 2 && !is_namespace_subresource(&rest) {
        out.namespace = rest[1].clone();
        rest.drain(..2);
    }
    let mut rest = rest.into_iter();
    out.plural = rest.next()?;
    out.name = rest.next().unwrap_or_default();
    out.subresource = rest.next().unwrap_or_default();
    let tail: Vec<String> = rest.collect();
    // Only proxy has paths below the sub-resource, and it is not offered.
    (tail.is_empty() && !out.plural.is_empty()).then_some((out, watch))
}

fn is_namespace_subresource(rest: &[String]) -> bool {
    rest.len() == 3 && matches!(rest[2].as_str(), "status" | "finalize")
}

/// Percent-decodes a path segment or query part.
pub(crate) fn decode(part: &str) -> Option<String> {
    let mut out = Vec::with_capacity(part.len());
    let mut bytes = part.bytes();
    while let Some(b) = bytes.next() {
        if b == b'%' {
            let hex = [bytes.next()?, bytes.next()?];
            out.push(u8::from_str_radix(std::str::from_utf8(&hex).ok()?, 16).ok()?);
        } else {
            out.push(b);
        }
    }
    String::from_utf8(out).ok()
}

/// The query parameters.
#[derive(Debug, Clone, Default)]
pub struct Query(HashMap<String, Vec<String>>);

impl Query {
    /// Parses a query string; undecodable parts are dropped.
    pub fn parse(query: &str) -> Self {
        let mut map: HashMap<String, Vec<String>> = HashMap::new();
        for part in query.split('&').filter(|p| !p.is_empty()) {
            let (key, value) = part.split_once('=').unwrap_or((part, ""));
            if let (Some(key), Some(value)) =
                (decode(&key.replace('+', " ")), decode(&value.replace('+', " ")))
            {
                map.entry(key).or_default().push(value);
            }
        }
        Query(map)
    }

    /// The first value of a parameter, or "".
    pub fn get(&self, key: &str) -> &str {
        self.0.get(key).and_then(|v| v.first()).map_or("", String::as_str)
    }

    /// All values of a parameter.
    pub fn all(&self, key: &str) -> &[String] {
        self.0.get(key).map_or(&[], Vec::as_slice)
    }

    /// Whether a parameter is `true` or `1` (or there without a value).
    pub fn flag(&self, key: &str) -> bool {
        self.0.contains_key(key) && matches!(self.get(key), "true" | "1" | "True" | "")
    }

    /// Sets a parameter (when a body carries what the query may carry too).
    pub fn set(&mut self, key: &str, value: String) {
        self.0.insert(key.to_owned(), vec![value]);
    }
}

/// The verb as authorization and webhooks name it.
pub fn verb(method: &Method, named: bool, watch: bool) -> &'static str {
    match (method.as_str(), named) {
        ("GET" | "HEAD", _) if watch => "watch",
        ("GET" | "HEAD", true) => "get",
        ("GET" | "HEAD", false) => "list",
        ("POST", _) => "create",
        ("PUT", _) => "update",
        ("PATCH", _) => "patch",
        ("DELETE", true) => "delete",
        ("DELETE", false) => "deletecollection",
        _ => "",
    }
}

/// The representation a client wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum View {
    /// The object itself.
    Full,
    /// A table for people.
    Table,
    /// Only metadata.
    Metadata,
}

/// What Accept asks for: the first range this server can produce.
pub fn view(headers: &HeaderMap) -> Option<View> {
    let accept = headers.get(header::ACCEPT).and_then(|v| v.to_str().ok()).unwrap_or("*/*");
    accept.split(',').find_map(|range| {
        let mut parts = range.split(';').map(str::trim);
        let media = parts.next().unwrap_or_default();
        if !matches!(media, "application/json" | "application/*" | "*/*" | "" | "text/plain") {
            return None;
        }
        let parameters: Vec<&str> = parts.collect();
        let wanted = parameters.iter().find_map(|p| p.strip_prefix("as="));
        match wanted {
            None => Some(View::Full),
            Some("Table") if parameters.contains(&"v=v1") => Some(View::Table),
            Some("PartialObjectMetadata" | "PartialObjectMetadataList") if parameters.contains(&"v=v1") => {
                Some(View::Metadata)
            }
            Some(_) => None,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_come_apart() {
        let path = |p| {
            let (r, w) = parse_path(p).unwrap();
            [r.group, r.version, r.namespace, r.plural, r.name, r.subresource, w.to_string()].join("|")
        };
        assert_eq!(path("/api/v1/pods"), "|v1||pods|||false");
        assert_eq!(path("/api/v1/namespaces/a/pods/p/log"), "|v1|a|pods|p|log|false");
        assert_eq!(path("/api/v1/namespaces/a"), "|v1||namespaces|a||false");
        assert_eq!(path("/api/v1/namespaces/a/finalize"), "|v1||namespaces|a|finalize|false");
        assert_eq!(path("/api/v1/namespaces/a/pods"), "|v1|a|pods|||false");
        assert_eq!(path("/api/v1/watch/namespaces/a/pods"), "|v1|a|pods|||true");
        assert_eq!(
            path("/apis/rbac.authorization.k8s.io/v1/clusterroles/system%3Anode"),
            "rbac.authorization.k8s.io|v1||clusterroles|system:node||false"
        );
        assert!(parse_path("/healthz").is_none());
        assert!(parse_path("/api/v1/namespaces/a/pods/p/proxy/x").is_none());
    }

    #[test]
    fn accept_chooses_the_first_known_form() {
        let view_of = |accept: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT, accept.parse().unwrap());
            view(&headers)
        };
        let kubectl = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json";
        assert_eq!(view_of(kubectl), Some(View::Table));
        assert_eq!(view_of("application/vnd.kubernetes.protobuf, application/json"), Some(View::Full));
        assert_eq!(
            view_of("application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"),
            Some(View::Metadata)
        );
        assert_eq!(view_of("application/vnd.kubernetes.protobuf"), None);
    }
}
