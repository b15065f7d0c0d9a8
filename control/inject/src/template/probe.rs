//! The probes of the proxy container.

use serde_json::{Value, json};

use super::Frame;
use crate::annotations::names;

fn ready() -> Value {
    json!({"path": "/healthz/ready", "port": meltemi_proto::ports::HEALTH})
}

pub(super) fn readiness(frame: &Frame<'_>) -> Value {
    let proxy = &frame.injector.values.global.proxy;
    let number = |annotation, default: u32| {
        frame.pod.annotation(annotation).and_then(|value| value.parse().ok()).unwrap_or(default)
    };
    json!({
        "httpGet": ready(),
        "initialDelaySeconds": number(names::READINESS_INITIAL_DELAY, proxy.readiness_initial_delay_seconds),
        "periodSeconds": number(names::READINESS_PERIOD, proxy.readiness_period_seconds),
        "timeoutSeconds": 3,
        "failureThreshold": number(names::READINESS_FAILURES, proxy.readiness_failure_threshold),
    })
}

pub(super) fn startup(frame: &Frame<'_>) -> Value {
    json!({
        "httpGet": ready(),
        "initialDelaySeconds": 0,
        "periodSeconds": 1,
        "timeoutSeconds": 3,
        "failureThreshold": frame.injector.values.global.proxy.startup_probe.failure_threshold,
    })
}

pub(super) fn gateway_startup() -> Value {
    json!({
        "httpGet": ready(),
        "failureThreshold": 30,
        "initialDelaySeconds": 1,
        "periodSeconds": 1,
        "successThreshold": 1,
        "timeoutSeconds": 1,
    })
}

pub(super) fn gateway_readiness() -> Value {
    json!({
        "httpGet": ready(),
        "failureThreshold": 4,
        "initialDelaySeconds": 0,
        "periodSeconds": 15,
        "successThreshold": 1,
        "timeoutSeconds": 1,
    })
}
