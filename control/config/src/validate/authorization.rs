//! AuthorizationPolicy.

use crate::istio::AuthorizationPolicy;
use crate::istio::authorization_policy::{Action, Condition, Operation, Source};
use crate::path::Path;

use super::names;
use super::report::Report;

pub(super) fn check(spec: &AuthorizationPolicy, path: &Path, report: &mut Report) {
    selector(spec, path, report);
    let provider = spec.provider.as_ref();
    if spec.action == Action::Custom {
        if provider.is_none_or(|provider| provider.name.is_empty()) {
            let cure = "name one of MeshConfig's `extensionProviders`";
            report.error(&path.key("provider"), "action CUSTOM needs a provider", cure);
        }
        if spec.rules.is_empty() {
            report.error(
                &path.key("rules"),
                "action CUSTOM needs a rule",
                "write `rules: [{}]` for every request",
            );
        }
    } else if provider.is_some() {
        report.error(
            &path.key("provider"),
            "only action CUSTOM has a provider",
            "remove it, or set the action",
        );
    }
    if spec.action == Action::Deny && spec.rules.is_empty() {
        report.warning(
            &path.key("rules"),
            "without rules, DENY denies nothing",
            "write `rules: [{}]` to deny everything",
        );
    }
    for (position, rule) in spec.rules.iter().enumerate() {
        let path = path.key("rules").index(position);
        for (position, from) in rule.from.iter().enumerate() {
            let path = path.key("from").index(position).key("source");
            match &from.source {
                Some(source) => self::source(source, &path, report),
                None => report.error(&path, "the source is missing", "write `source: {…}`"),
            }
        }
        for (position, to) in rule.to.iter().enumerate() {
            let path = path.key("to").index(position).key("operation");
            match &to.operation {
                Some(operation) => self::operation(operation, &path, report),
                None => report.error(&path, "the operation is missing", "write `operation: {…}`"),
            }
        }
        for (position, condition) in rule.when.iter().enumerate() {
            self::condition(condition, &path.key("when").index(position), report);
        }
    }
}

fn selector(spec: &AuthorizationPolicy, path: &Path, report: &mut Report) {
    if let Some(selector) = &spec.selector {
        names::labels(&selector.match_labels, &path.key("selector").key("matchLabels"), report);
    }
    for (position, reference) in spec.target_refs.iter().enumerate() {
        let path = path.key("targetRefs").index(position);
        report.required(&path.key("kind"), &reference.kind, "the kind");
        report.required(&path.key("name"), &reference.name, "the name");
    }
}

fn source(source: &Source, path: &Path, report: &mut Report) {
    if *source == Source::default() {
        report.error(path, "says nothing", "name at least one property, or remove it");
    }
    let ranges = [
        ("ipBlocks", &source.ip_blocks),
        ("notIpBlocks", &source.not_ip_blocks),
        ("remoteIpBlocks", &source.remote_ip_blocks),
        ("notRemoteIpBlocks", &source.not_remote_ip_blocks),
    ];
    for (name, list) in ranges {
        for (position, range) in list.iter().enumerate() {
            report.name(&path.key(name).index(position), names::subnet(range));
        }
    }
    let accounts = !source.service_accounts.is_empty() || !source.not_service_accounts.is_empty();
    let others = !source.principals.is_empty()
        || !source.not_principals.is_empty()
        || !source.namespaces.is_empty()
        || !source.not_namespaces.is_empty();
    if accounts && others {
        let message = "`serviceAccounts` excludes `principals` and `namespaces`";
        report.error(path, message, "write two sources");
    }
    for (position, account) in source.service_accounts.iter().enumerate() {
        let path = path.key("serviceAccounts").index(position);
        if account.is_empty() || account.split('/').count() > 2 {
            report.error(&path, format!("{account:?} is no service account"), "write name or namespace/name");
        }
    }
    not_empty(
        &[
            ("principals", &source.principals),
            ("namespaces", &source.namespaces),
            ("requestPrincipals", &source.request_principals),
        ],
        path,
        report,
    );
}

fn operation(operation: &Operation, path: &Path, report: &mut Report) {
    if *operation == Operation::default() {
        report.error(path, "says nothing", "name at least one property, or remove it");
    }
    for (name, list) in [("ports", &operation.ports), ("notPorts", &operation.not_ports)] {
        for (position, port) in list.iter().enumerate() {
            if port.parse::<u16>().ok().is_none_or(|port| port == 0) {
                report.error(
                    &path.key(name).index(position),
                    format!("{port:?} is no port"),
                    "write 1 to 65535 in quotes",
                );
            }
        }
    }
    for (name, list) in [("paths", &operation.paths), ("notPaths", &operation.not_paths)] {
        for (position, template) in list.iter().enumerate() {
            self::path_template(template, &path.key(name).index(position), report);
        }
    }
    not_empty(&[("hosts", &operation.hosts), ("methods", &operation.methods)], path, report);
}

/// `{*}` is one segment, `{**}` any number and last but for a literal.
fn path_template(template: &str, path: &Path, report: &mut Report) {
    if template.is_empty() {
        report.error(path, "the path is empty", "write /");
        return;
    }
    if !template.contains('{') {
        return;
    }
    let bad = |segment: &str| segment.contains(['{', '}']) && !matches!(segment, "{*}" | "{**}");
    if template.split('/').any(bad)
        || template.matches("{**}").count() > 1
        || template.replace("{*}", "").replace("{**}", "").contains('*')
    {
        let cure = "write {*} for one segment and {**} once for any number, each between slashes";
        report.error(path, format!("{template:?} is no template of a path"), cure);
    }
}

fn not_empty(lists: &[(&str, &Vec<String>)], path: &Path, report: &mut Report) {
    for (name, list) in lists {
        for (position, value) in list.iter().enumerate().filter(|(_, value)| value.is_empty()) {
            let _ = value;
            report.error(&path.key(*name).index(position), "is empty", "write a value, or * for any");
        }
    }
}

/// Attributes with a fixed name.
const ATTRIBUTES: &[&str] = &[
    "source.ip",
    "remote.ip",
    "source.namespace",
    "source.principal",
    "source.serviceAccount",
    "source.trustDomain",
    "request.auth.principal",
    "request.auth.audiences",
    "request.auth.presenter",
    "destination.ip",
    "destination.port",
    "connection.sni",
];

fn condition(condition: &Condition, path: &Path, report: &mut Report) {
    let key = condition.key.as_str();
    let open = |prefix: &str| {
        key.strip_prefix(prefix).is_some_and(|rest| rest.starts_with('[') && rest.ends_with(']'))
    };
    let known = ATTRIBUTES.contains(&key)
        || open("request.headers")
        || open("request.auth.claims")
        || key.starts_with("experimental.envoy.filters.");
    if !known {
        let cure = match crate::suggest::nearest(key, ATTRIBUTES) {
            Some(near) => format!("did you mean {near}?"),
            None => format!(
                "write one of {}, request.headers[name] or request.auth.claims[name]",
                ATTRIBUTES.join(", ")
            ),
        };
        report.error(&path.key("key"), format!("{key:?} is no attribute"), cure);
    }
    if condition.values.is_empty() && condition.not_values.is_empty() {
        report.error(path, "no value is named", "add `values` or `notValues`");
    }
    for (name, list) in [("values", &condition.values), ("notValues", &condition.not_values)] {
        for (position, value) in list.iter().enumerate() {
            let path = path.key(name).index(position);
            if key.ends_with(".ip") {
                report.name(&path, names::subnet(value));
            } else if key == "destination.port" && value.parse::<u16>().is_err() {
                report.error(&path, format!("{value:?} is no port"), "write 1 to 65535 in quotes");
            }
        }
    }
}
