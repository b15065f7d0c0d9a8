//! The init container `istio-init`, which writes the redirection rules of the pod's network namespace.

use serde_json::{Value, json};

use super::{Frame, container, resources};
use crate::annotations::names;
use crate::pod::INIT_CONTAINER;

pub(super) fn container(frame: &Frame<'_>) -> Value {
    let global = &frame.injector.values.global;
    let image = match global.proxy_init.image.as_str() {
        "" => container::image(frame),
        image if image.contains('/') => image.to_owned(),
        image => format!("{}/{image}:{}", global.hub, global.tag),
    };
    let env: Vec<Value> = frame
        .config
        .metadata()
        .into_iter()
        .map(|(name, value)| json!({"name": name, "value": value}))
        .collect();
    let mut container = json!({
        "name": INIT_CONTAINER,
        "image": image,
        "args": args(frame),
        "resources": resources::init(frame),
        "securityContext": {
            "allowPrivilegeEscalation": global.proxy.privileged,
            "privileged": global.proxy.privileged,
            "capabilities": {"add": ["NET_ADMIN", "NET_RAW"], "drop": ["ALL"]},
            "readOnlyRootFilesystem": false,
            "runAsGroup": 0,
            "runAsNonRoot": false,
            "runAsUser": 0,
        },
    });
    if !env.is_empty() {
        container["env"] = Value::Array(env);
    }
    if !global.image_pull_policy.is_empty() {
        container["imagePullPolicy"] = json!(global.image_pull_policy);
    }
    container
}

fn args(frame: &Frame<'_>) -> Vec<String> {
    let proxy = &frame.injector.values.global.proxy;
    let mesh = &frame.injector.mesh;
    let setting = |annotation, default| frame.setting(annotation, default).to_owned();
    let mut args = vec!["istio-iptables".to_owned()];
    let mut option = |flag: &str, value: String| args.extend([flag.to_owned(), value]);
    option("-p", mesh.outbound_port.to_string());
    option("-z", mesh.inbound_port.to_string());
    option("-u", "1337".to_owned());
    option("-m", frame.config.interception_mode(frame.pod).to_owned());
    option("-i", setting(names::INCLUDE_OUTBOUND_IPS, &proxy.include_ip_ranges));
    option("-x", setting(names::EXCLUDE_OUTBOUND_IPS, &proxy.exclude_ip_ranges));
    option("-b", setting(names::INCLUDE_INBOUND_PORTS, &proxy.include_inbound_ports));
    option("-d", excluded_inbound(frame));
    let optional = [
        ("-q", setting(names::INCLUDE_OUTBOUND_PORTS, &proxy.include_outbound_ports)),
        ("-o", setting(names::EXCLUDE_OUTBOUND_PORTS, &proxy.exclude_outbound_ports)),
        ("-c", setting(names::EXCLUDE_INTERFACES, "")),
        ("-k", setting(names::REROUTE_INTERFACES, frame.setting(names::KUBEVIRT_INTERFACES, ""))),
    ];
    for (flag, value) in optional {
        if !value.is_empty() {
            option(flag, value);
        }
    }
    args.push(format!(
        "--log_output_level={}",
        frame.setting(names::AGENT_LOG_LEVEL, &frame.injector.values.global.logging.level)
    ));
    if frame.injector.values.global.log_as_json {
        args.push("--log_as_json".to_owned());
    }
    if frame.injector.values.global.proxy_init.force_apply_iptables {
        args.push("--force-apply".to_owned());
    }
    args
}

/// The proxy's own ports answer the kubelet and Prometheus, which do not speak the mesh's TLS.
fn excluded_inbound(frame: &Frame<'_>) -> String {
    use meltemi_proto::ports::{HEALTH, PROMETHEUS};
    let mut ports = vec![PROMETHEUS.to_string(), HEALTH.to_string(), frame.status_port().to_string()];
    let own = frame
        .setting(names::EXCLUDE_INBOUND_PORTS, &frame.injector.values.global.proxy.exclude_inbound_ports)
        .split(',')
        .map(str::trim)
        .filter(|port| !port.is_empty());
    for port in own {
        if !ports.iter().any(|known| known == port) {
            ports.push(port.to_owned());
        }
    }
    ports.join(",")
}
