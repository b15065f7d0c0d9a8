//! The container `istio-proxy`.

use serde_json::{Value, json};

use super::{Frame, env, probe, resources, volumes};
use crate::annotations::names;
use crate::pod::PROXY_CONTAINER;
use crate::proxy_config::ProxyConfig;

pub(super) fn sidecar(frame: &Frame<'_>) -> Value {
    let mut container = base(frame, "sidecar");
    container["resources"] = resources::proxy(frame);
    if let Some(lifecycle) = lifecycle(frame) {
        container["lifecycle"] = lifecycle;
    }
    if ProxyConfig::is_probed(frame.pod) {
        container["readinessProbe"] = probe::readiness(frame);
        if frame.injector.values.global.proxy.startup_probe.enabled {
            container["startupProbe"] = probe::startup(frame);
        }
    }
    container["securityContext"] = security(frame);
    container
}

pub(super) fn gateway(frame: &Frame<'_>) -> Value {
    let mut container = base(frame, "router");
    container["resources"] = resources::proxy(frame);
    container["readinessProbe"] = probe::gateway_readiness();
    container["startupProbe"] = probe::gateway_startup();
    container["securityContext"] = json!({
        "allowPrivilegeEscalation": false,
        "capabilities": {"drop": ["ALL"]},
        "privileged": false,
        "readOnlyRootFilesystem": true,
        "runAsGroup": 1337,
        "runAsNonRoot": true,
        "runAsUser": 1337,
    });
    container
}

pub(super) fn base(frame: &Frame<'_>, role: &str) -> Value {
    let mut container = json!({
        "name": PROXY_CONTAINER,
        "image": image(frame),
        "args": args(frame, role),
        "env": env::all(frame),
        "ports": [{"containerPort": meltemi_proto::ports::PROMETHEUS, "name": "http-envoy-prom", "protocol": "TCP"}],
        "volumeMounts": volumes::mounts(frame),
    });
    let policy = &frame.injector.values.global.image_pull_policy;
    if !policy.is_empty() {
        container["imagePullPolicy"] = json!(policy);
    }
    container
}

/// `hub/proxyv2:tag[-variant]`, or the annotation's image.
pub(super) fn image(frame: &Frame<'_>) -> String {
    if let Some(image) = frame.pod.annotation(names::PROXY_IMAGE).filter(|image| !image.is_empty()) {
        return image.to_owned();
    }
    let global = &frame.injector.values.global;
    if global.proxy.image.contains('/') {
        return global.proxy.image.clone();
    }
    let variant = frame
        .pod
        .annotation(names::PROXY_IMAGE_TYPE)
        .filter(|kind| *kind != "default")
        .or_else(|| frame.config.image_type())
        .unwrap_or(&global.variant);
    let tag = if variant.is_empty() || variant == "default" {
        global.tag.clone()
    } else {
        format!("{}-{variant}", global.tag)
    };
    format!("{}/{}:{tag}", global.hub, global.proxy.image)
}

fn args(frame: &Frame<'_>, role: &str) -> Vec<String> {
    let global = &frame.injector.values.global;
    let mut args = vec![
        "proxy".to_owned(),
        role.to_owned(),
        "--domain".to_owned(),
        format!("$(POD_NAMESPACE).svc.{}", global.proxy.cluster_domain),
        format!("--proxyLogLevel={}", frame.setting(names::LOG_LEVEL, &global.proxy.log_level)),
        format!(
            "--proxyComponentLogLevel={}",
            frame.setting(names::COMPONENT_LOG_LEVEL, &global.proxy.component_log_level)
        ),
        format!("--log_output_level={}", frame.setting(names::AGENT_LOG_LEVEL, &global.logging.level)),
    ];
    if global.log_as_json {
        args.push("--log_as_json".to_owned());
    }
    if !global.proxy.outlier_log_path.is_empty() {
        args.push(format!("--outlierLogPath={}", global.proxy.outlier_log_path));
    }
    args
}

/// A native sidecar outlives the application, so it only needs to know early that the pod is stopping; any other must
/// make the application wait when it was asked to.
fn lifecycle(frame: &Frame<'_>) -> Option<Value> {
    let own = &frame.injector.values.global.proxy.lifecycle;
    if own.is_object() {
        Some(own.clone())
    } else if frame.hold_application() {
        Some(json!({"postStart": {"exec": {"command": ["pilot-agent", "wait"]}}}))
    } else if frame.native {
        let port = format!("--debug-port={}", frame.status_port());
        Some(json!({"preStop": {"exec": {"command": ["pilot-agent", "request", port, "POST", "drain"]}}}))
    } else {
        None
    }
}

pub(super) fn security(frame: &Frame<'_>) -> Value {
    let privileged = frame.injector.values.global.proxy.privileged;
    // Transparent proxying sets options on sockets that only root with NET_ADMIN may set.
    let tproxy = frame.config.interception_mode(frame.pod) == "TPROXY";
    let mut capabilities = json!({"drop": ["ALL"]});
    if tproxy {
        capabilities["add"] = json!(["NET_ADMIN"]);
    }
    json!({
        "allowPrivilegeEscalation": privileged,
        "capabilities": capabilities,
        "privileged": privileged,
        "readOnlyRootFilesystem": true,
        "runAsGroup": 1337,
        "runAsNonRoot": !tproxy,
        "runAsUser": if tproxy { 0 } else { 1337 },
    })
}
