//! Service addresses and node ports: chosen from the pools, never given twice.

use crate::error::{ApiError, FieldError, Result};
use crate::object::{child, int, list, text};
use crate::registry::Resource;
use crate::server::Core;
use serde_json::{Value, json};
use std::collections::HashSet;
use std::net::Ipv4Addr;
use tokio::sync::MutexGuard;

/// Ports that services get on every node.
pub const NODE_PORTS: std::ops::RangeInclusive<i64> = 30_000..=32_767;

/// Chooses what a service still lacks. The guard keeps others from choosing the same until the service is stored.
pub async fn reserve<'a>(
    core: &'a Core,
    resource: &Resource,
    value: &mut Value,
    old: Option<&Value>,
) -> Result<Option<MutexGuard<'a, ()>>> {
    if !resource.is("", "services") {
        return Ok(None);
    }
    let guard = core.allocation.lock().await;
    let errors = Pool::of(core, value).choose(core, value, old);
    match errors.is_empty() {
        true => Ok(Some(guard)),
        false => Err(ApiError::invalid("Service", "", crate::object::name(value), &errors)),
    }
}

struct Pool {
    addresses: HashSet<String>,
    ports: HashSet<(i64, String)>,
}

impl Pool {
    /// What all other services have.
    fn of(core: &Core, own: &Value) -> Self {
        let mut pool = Pool { addresses: HashSet::new(), ports: HashSet::new() };
        for (_, stored) in core.store.list("/services", "").items {
            let service = &stored.value;
            if crate::object::name(service) == crate::object::name(own)
                && crate::object::namespace(service) == crate::object::namespace(own)
            {
                continue;
            }
            pool.addresses.insert(text(service, "/spec/clusterIP").to_owned());
            for port in list(service, "/spec/ports") {
                if let Some(number) = int(port, "/nodePort") {
                    pool.ports.insert((number, text(port, "/protocol").to_owned()));
                }
            }
            if let Some(port) = int(service, "/spec/healthCheckNodePort") {
                pool.ports.insert((port, "TCP".to_owned()));
            }
        }
        pool
    }

    fn choose(&mut self, core: &Core, value: &mut Value, old: Option<&Value>) -> Vec<FieldError> {
        let mut errors = Vec::new();
        let kind = text(value, "/spec/type").to_owned();
        if kind == "ExternalName" {
            let spec = child(value, "spec");
            for field in ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy", "internalTrafficPolicy"]
            {
                spec.shift_remove(field);
            }
            return errors;
        }
        self.choose_address(core, value, old, &mut errors);
        let wants_ports = kind == "NodePort"
            || (kind == "LoadBalancer"
                && value.pointer("/spec/allocateLoadBalancerNodePorts") != Some(&json!(false)));
        if wants_ports {
            self.choose_ports(value, old, &mut errors);
        }
        errors
    }

    fn choose_address(
        &self,
        core: &Core,
        value: &mut Value,
        old: Option<&Value>,
        errors: &mut Vec<FieldError>,
    ) {
        let mut address = text(value, "/spec/clusterIP").to_owned();
        let before = old.map(|o| text(o, "/spec/clusterIP")).unwrap_or_default();
        if address.is_empty() && !before.is_empty() {
            address = before.to_owned();
        }
        if address.is_empty() {
            match self.free_address(core) {
                Some(free) => address = free,
                None => errors.push(FieldError::invalid(
                    "spec.clusterIP",
                    &json!(""),
                    "the service network is full",
                )),
            }
        } else if address != "None" && address != before {
            self.check_address(core, &address, errors);
        }
        let spec = child(value, "spec");
        spec.insert("clusterIP".into(), json!(address));
        spec.insert("clusterIPs".into(), json!([address]));
        crate::object::default(spec, "ipFamilies", json!(["IPv4"]));
        crate::object::default(spec, "ipFamilyPolicy", "SingleStack");
    }

    fn check_address(&self, core: &Core, address: &str, errors: &mut Vec<FieldError>) {
        let network = u32::from(core.options.service_network);
        let mask = u32::MAX.checked_shl(32 - u32::from(core.options.service_prefix)).unwrap_or(0);
        let inside = address.parse::<Ipv4Addr>().is_ok_and(|ip| u32::from(ip) & mask == network & mask);
        let shown = json!([address]);
        if !inside {
            let detail = format!(
                "failed to allocate IP {address}: the provided IP ({address}) is not in the valid range. The range of valid IPs is {}/{}",
                core.options.service_network, core.options.service_prefix
            );
            errors.push(FieldError::invalid("spec.clusterIPs", &shown, detail));
        } else if self.addresses.contains(address) {
            let detail = format!("failed to allocate IP {address}: provided IP is already allocated");
            errors.push(FieldError::invalid("spec.clusterIPs", &shown, detail));
        }
    }

    fn free_address(&self, core: &Core) -> Option<String> {
        let size = 1u32.checked_shl(32 - u32::from(core.options.service_prefix)).unwrap_or(u32::MAX);
        let base = u32::from(core.options.service_network);
        // The first addresses are left to those who ask for one by number (the API, DNS).
        let reserved = 256.min(size / 4).max(2);
        let free = |n: u32| {
            let ip = Ipv4Addr::from(base + n).to_string();
            (!self.addresses.contains(&ip)).then_some(ip)
        };
        let start = fastrand::u32(reserved..size - 1);
        (start..size - 1).chain(reserved..start).find_map(free)
    }

    fn choose_ports(&mut self, value: &mut Value, old: Option<&Value>, errors: &mut Vec<FieldError>) {
        let before: Vec<Value> = old.map(|o| list(o, "/spec/ports").to_vec()).unwrap_or_default();
        let had: HashSet<i64> = before.iter().filter_map(|p| int(p, "/nodePort")).collect();
        let Some(ports) = child(value, "spec").get_mut("ports").and_then(Value::as_array_mut) else { return };
        for (i, port) in ports.iter_mut().enumerate() {
            let protocol = text(port, "/protocol").to_owned();
            let asked = int(port, "/nodePort").filter(|p| *p != 0);
            let kept =
                before.iter().find(|b| b.get("port") == port.get("port") && text(b, "/protocol") == protocol);
            let wanted = asked.or_else(|| kept.and_then(|k| int(k, "/nodePort")));
            let field = format!("spec.ports[{i}].nodePort");
            let number = match wanted {
                Some(n) if !NODE_PORTS.contains(&n) => {
                    let detail =
                        "provided port is not in the valid range. The range of valid ports is 30000-32767";
                    errors.push(FieldError::invalid(field, &json!(n), detail));
                    continue;
                }
                Some(n) if self.ports.contains(&(n, protocol.clone())) && !had.contains(&n) => {
                    errors.push(FieldError::invalid(field, &json!(n), "provided port is already allocated"));
                    continue;
                }
                Some(n) => n,
                None => match self.free_port() {
                    Some(n) => n,
                    None => {
                        errors.push(FieldError::invalid(field, &json!(0), "all node ports are in use"));
                        continue;
                    }
                },
            };
            self.ports.insert((number, protocol));
            crate::object::as_map(port).insert("nodePort".into(), json!(number));
        }
    }

    fn free_port(&self) -> Option<i64> {
        let free = |n: &i64| !self.ports.iter().any(|(port, _)| port == n);
        let start = fastrand::i64(NODE_PORTS);
        (start..=*NODE_PORTS.end()).chain(*NODE_PORTS.start()..start).find(free)
    }
}
