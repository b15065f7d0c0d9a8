//! A container's environment, command and arguments. Pure: everything they refer to is looked up through [`Sources`].

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, EnvVar, Pod, ResourceFieldSelector};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use super::claims::Directory;

/// Why a container cannot be made as specified: the text of `CreateContainerConfigError`.
pub type ConfigError = String;

/// Where values come from.
pub trait Sources {
    /// The data of a ConfigMap of the pod's namespace.
    fn config_map(&self, name: &str) -> Option<BTreeMap<String, Vec<u8>>>;
    /// The data of a Secret of the pod's namespace.
    fn secret(&self, name: &str) -> Option<BTreeMap<String, Vec<u8>>>;
    /// The directory of a claim of the pod's namespace, or why it has none.
    fn claim(&self, name: &str) -> Result<Directory, String>;
    /// What the node knows of the pod.
    fn facts(&self) -> &Facts;
}

/// What only the node knows of a pod.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    /// The pod's address.
    pub pod_ip: String,
    /// The node's address.
    pub host_ip: String,
    /// The machine's cores.
    pub cpus: u64,
    /// The machine's memory in bytes.
    pub memory: u64,
}

/// The whole environment of a container, in order, later entries winning; references are expanded.
pub fn environment(
    pod: &Pod,
    container: &Container,
    base: &BTreeMap<String, String>,
    sources: &dyn Sources,
) -> Result<Vec<(String, String)>, ConfigError> {
    let mut env = Env { entries: base.clone().into_iter().collect() };
    for from in container.env_from.iter().flatten() {
        let prefix = from.prefix.as_deref().unwrap_or_default();
        let (kind, name, optional, data) = match (&from.config_map_ref, &from.secret_ref) {
            (Some(r), _) => ("configmap", &r.name, r.optional, sources.config_map(&r.name)),
            (_, Some(r)) => ("secret", &r.name, r.optional, sources.secret(&r.name)),
            _ => continue,
        };
        match data {
            Some(data) => {
                for (key, value) in data {
                    env.set(&format!("{prefix}{key}"), String::from_utf8_lossy(&value).into_owned());
                }
            }
            None if optional == Some(true) => {}
            None => return Err(format!("{kind} \"{name}\" not found")),
        }
    }
    for variable in container.env.iter().flatten() {
        if let Some(value) = value(pod, container, variable, &env, sources)? {
            env.set(&variable.name, value);
        }
    }
    Ok(env.entries)
}

struct Env {
    entries: Vec<(String, String)>,
}

impl Env {
    fn set(&mut self, name: &str, value: String) {
        match self.entries.iter_mut().find(|(n, _)| n == name) {
            Some(entry) => entry.1 = value,
            None => self.entries.push((name.to_owned(), value)),
        }
    }
}

fn value(
    pod: &Pod,
    container: &Container,
    variable: &EnvVar,
    env: &Env,
    sources: &dyn Sources,
) -> Result<Option<String>, ConfigError> {
    let Some(from) = &variable.value_from else {
        return Ok(Some(expand(variable.value.as_deref().unwrap_or_default(), &env.entries)));
    };
    let keyed = |kind: &str,
                 name: &str,
                 key: &str,
                 optional: Option<bool>,
                 data: Option<BTreeMap<String, Vec<u8>>>| {
        let missing = if data.is_none() {
            format!("{kind} \"{name}\" not found")
        } else {
            format!("couldn't find key {key} in {kind} {name}")
        };
        match data.and_then(|mut d| d.remove(key)) {
            Some(value) => Ok(Some(String::from_utf8_lossy(&value).into_owned())),
            None if optional == Some(true) => Ok(None),
            None => Err(missing),
        }
    };
    if let Some(r) = &from.config_map_key_ref {
        keyed("configmap", &r.name, &r.key, r.optional, sources.config_map(&r.name))
    } else if let Some(r) = &from.secret_key_ref {
        keyed("secret", &r.name, &r.key, r.optional, sources.secret(&r.name))
    } else if let Some(r) = &from.field_ref {
        field(pod, &r.field_path, sources.facts()).map(Some)
    } else if let Some(r) = &from.resource_field_ref {
        let of = r.container_name.as_deref().filter(|n| !n.is_empty());
        let owner = match of.and_then(|n| pod.spec.as_ref()?.containers.iter().find(|c| c.name == n)) {
            Some(other) => other,
            None => container,
        };
        resource(owner, r, sources.facts()).map(Some)
    } else {
        Err(format!("the variable {} has a valueFrom without a source", variable.name))
    }
}

/// A field of the pod, as `fieldRef` names it.
pub fn field(pod: &Pod, path: &str, facts: &Facts) -> Result<String, ConfigError> {
    let meta = &pod.metadata;
    let spec = pod.spec.as_ref();
    let text = |value: Option<&String>| value.cloned().unwrap_or_default();
    let table = |map: Option<&BTreeMap<String, String>>| {
        let lines: Vec<String> = map.into_iter().flatten().map(|(k, v)| format!("{k}={v:?}")).collect();
        lines.join("\n")
    };
    if let Some((map, key)) = path.strip_suffix("']").and_then(|p| p.split_once("['")) {
        let map = match map {
            "metadata.labels" => meta.labels.as_ref(),
            "metadata.annotations" => meta.annotations.as_ref(),
            _ => return Err(format!("the field path {path:?} is not known")),
        };
        return Ok(text(map.and_then(|m| m.get(key))));
    }
    Ok(match path {
        "metadata.name" => text(meta.name.as_ref()),
        "metadata.namespace" => text(meta.namespace.as_ref()),
        "metadata.uid" => text(meta.uid.as_ref()),
        "metadata.labels" => table(meta.labels.as_ref()),
        "metadata.annotations" => table(meta.annotations.as_ref()),
        "spec.nodeName" => text(spec.and_then(|s| s.node_name.as_ref())),
        "spec.serviceAccountName" => {
            spec.and_then(|s| s.service_account_name.clone()).unwrap_or_else(|| "default".into())
        }
        "status.podIP" | "status.podIPs" => facts.pod_ip.clone(),
        "status.hostIP" | "status.hostIPs" => facts.host_ip.clone(),
        _ => return Err(format!("the field path {path:?} is not known")),
    })
}

/// A container's resource, as `resourceFieldRef` names it; without a limit it is the machine's.
pub fn resource(
    container: &Container,
    wanted: &ResourceFieldSelector,
    facts: &Facts,
) -> Result<String, ConfigError> {
    let unknown = || format!("the resource {:?} is not known", wanted.resource);
    let (which, name) = wanted.resource.split_once('.').ok_or_else(unknown)?;
    let resources = container.resources.as_ref();
    let list = match which {
        "limits" => resources.and_then(|r| r.limits.as_ref()),
        "requests" => resources.and_then(|r| r.requests.as_ref()),
        _ => return Err(unknown()),
    };
    let set = list.and_then(|l| l.get(name)).and_then(quantity);
    let machine = match name {
        "cpu" => facts.cpus as f64,
        "memory" => facts.memory as f64,
        "ephemeral-storage" => 0.0,
        _ => return Err(unknown()),
    };
    let value = set.unwrap_or(if which == "limits" { machine } else { 0.0 });
    let divisor = wanted.divisor.as_ref().and_then(quantity).filter(|d| *d > 0.0).unwrap_or(1.0);
    Ok(format!("{}", (value / divisor).ceil()))
}

/// The number that a quantity stands for.
pub fn quantity(quantity: &Quantity) -> Option<f64> {
    let text = quantity.0.trim();
    let split =
        text.find(|c: char| !(c.is_ascii_digit() || c == '.' || c == '-' || c == '+')).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let factor = match unit {
        "" => 1.0,
        "n" => 1e-9,
        "u" => 1e-6,
        "m" => 1e-3,
        "k" => 1e3,
        "M" => 1e6,
        "G" => 1e9,
        "T" => 1e12,
        "Ki" => 1024.0,
        "Mi" => 1024.0 * 1024.0,
        "Gi" => 1024.0 * 1024.0 * 1024.0,
        "Ti" => 1024.0 * 1024.0 * 1024.0 * 1024.0,
        exponent => format!("1{exponent}").parse().ok()?,
    };
    Some(number.parse::<f64>().ok()? * factor)
}

/// Replaces `$(NAME)` by the variable's value; `$$` stands for `$`, and unknown names stay as they are.
pub fn expand(text: &str, env: &[(String, String)]) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        let (before, dollar) = rest.split_at(at);
        out.push_str(before);
        if let Some(after) = dollar.strip_prefix("$$") {
            out.push('$');
            rest = after;
        } else if let Some((name, after)) = dollar.strip_prefix("$(").and_then(|r| r.split_once(')')) {
            match env.iter().rev().find(|(n, _)| n == name) {
                Some((_, value)) => out.push_str(value),
                None => {
                    out.push_str("$(");
                    out.push_str(name);
                    out.push(')');
                }
            }
            rest = after;
        } else {
            out.push('$');
            rest = dollar.get(1..).unwrap_or_default();
        }
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests;
