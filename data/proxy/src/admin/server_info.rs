//! `/server_info` and `/memory`.

use meltemi_proto::envoy::admin::v3 as proto;
use meltemi_proto::google::protobuf::Duration;
use meltemi_proto::json::{Style, to_json_as};
use meltemi_proto::version;
use serde_json::json;

use super::listeners::failed;
use super::{Admin, Answer};

pub(super) fn answer(admin: &Admin) -> Answer {
    let (bootstrap, _) = admin.config.bootstrap();
    let node = bootstrap.node.unwrap_or_default();
    let state = admin.lifecycle.state();
    let uptime = duration(admin.lifecycle.uptime());
    let options = proto::CommandLineOptions {
        concurrency: admin.lifecycle.concurrency(),
        log_level: super::logging::default_level(),
        service_cluster: node.cluster.clone(),
        service_node: node.id.clone(),
        service_zone: node.locality.as_ref().map(|locality| locality.zone.clone()).unwrap_or_default(),
        drain_time: Some(duration(admin.lifecycle.drain_time())),
        disable_hot_restart: true,
        ..proto::CommandLineOptions::default()
    };
    let info = proto::ServerInfo {
        // Envoy's shape: revision/version/status/build/TLS library.
        version: format!("meltemi/{}/Clean/RELEASE/aws-lc", version::MELTEMI),
        state: state.into(),
        uptime_current_epoch: Some(uptime),
        uptime_all_epochs: Some(uptime),
        hot_restart_version: "disabled".to_owned(),
        command_line_options: Some(options),
        node: Some(node),
        ..proto::ServerInfo::default()
    };
    to_json_as(&info, Style { proto_names: true }).map_or_else(failed, |mut value| {
        // Proto-JSON leaves out the first value of an enum, but Envoy shows `LIVE` too.
        value["state"] = state.as_str_name().into();
        Answer::json(&value)
    })
}

fn duration(duration: std::time::Duration) -> Duration {
    Duration { seconds: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX), nanos: 0 }
}

/// Bytes that the process has, as the kernel counts them.
pub(super) struct Memory {
    /// In memory.
    pub(super) resident: u64,
    /// Of data and heap, in memory or not.
    pub(super) heap: u64,
}

impl Memory {
    /// Reads them; what cannot be read is 0.
    pub(super) fn read() -> Self {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let bytes = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
            line.trim().trim_end_matches(" kB").parse::<u64>().unwrap_or(0) * 1024
        };
        Memory { resident: bytes("VmRSS:"), heap: bytes("VmData:") }
    }
}

pub(super) fn memory() -> Answer {
    let Memory { resident, heap } = Memory::read();
    Answer::json(&json!({
        "allocated": resident.to_string(),
        "heap_size": heap.to_string(),
        "pageheap_unmapped": "0",
        "pageheap_free": "0",
        "total_thread_cache": "0",
        "total_physical_bytes": resident.to_string(),
    }))
}
