//! Access logs, from MeshConfig and Telemetry.

use meltemi_config::istio::telemetry::WorkloadMode;
use meltemi_config::mesh_config::extension_provider::EnvoyFileAccessLog;
use meltemi_config::mesh_config::{AccessLogEncoding, MeshConfig};
use meltemi_mesh::{ProxyView, Snapshot, labels};
use meltemi_proto::any;
use meltemi_proto::envoy::config::accesslog::v3::{
    AccessLog, AccessLogFilter, ResponseFlagFilter, access_log, access_log_filter,
};
use meltemi_proto::envoy::config::core::v3::{
    DataSource, SubstitutionFormatString, data_source, substitution_format_string,
};
use meltemi_proto::envoy::extensions::access_loggers::file::v3::{FileAccessLog, file_access_log};
use meltemi_proto::google::protobuf::Struct;
use meltemi_proto::structs;

use crate::wire;

/// Istio's text format.
pub const DEFAULT_TEXT: &str = concat!(
    "[%START_TIME%] \"%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%\" ",
    "%RESPONSE_CODE% %RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS% %CONNECTION_TERMINATION_DETAILS% ",
    "\"%UPSTREAM_TRANSPORT_FAILURE_REASON%\" %BYTES_RECEIVED% %BYTES_SENT% %DURATION% ",
    "%RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% \"%REQ(X-FORWARDED-FOR)%\" \"%REQ(USER-AGENT)%\" ",
    "\"%REQ(X-REQUEST-ID)%\" \"%REQ(:AUTHORITY)%\" \"%UPSTREAM_HOST%\" %UPSTREAM_CLUSTER_RAW% ",
    "%UPSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_REMOTE_ADDRESS% ",
    "%REQUESTED_SERVER_NAME% %ROUTE_NAME%\n",
);

/// Istio's JSON format.
const DEFAULT_JSON: [(&str, &str); 24] = [
    ("start_time", "%START_TIME%"),
    ("route_name", "%ROUTE_NAME%"),
    ("method", "%REQ(:METHOD)%"),
    ("path", "%REQ(X-ENVOY-ORIGINAL-PATH?:PATH)%"),
    ("protocol", "%PROTOCOL%"),
    ("response_code", "%RESPONSE_CODE%"),
    ("response_flags", "%RESPONSE_FLAGS%"),
    ("response_code_details", "%RESPONSE_CODE_DETAILS%"),
    ("connection_termination_details", "%CONNECTION_TERMINATION_DETAILS%"),
    ("bytes_received", "%BYTES_RECEIVED%"),
    ("bytes_sent", "%BYTES_SENT%"),
    ("duration", "%DURATION%"),
    ("upstream_service_time", "%RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)%"),
    ("x_forwarded_for", "%REQ(X-FORWARDED-FOR)%"),
    ("user_agent", "%REQ(USER-AGENT)%"),
    ("request_id", "%REQ(X-REQUEST-ID)%"),
    ("authority", "%REQ(:AUTHORITY)%"),
    ("upstream_host", "%UPSTREAM_HOST%"),
    ("upstream_cluster", "%UPSTREAM_CLUSTER_RAW%"),
    ("upstream_local_address", "%UPSTREAM_LOCAL_ADDRESS%"),
    ("downstream_local_address", "%DOWNSTREAM_LOCAL_ADDRESS%"),
    ("downstream_remote_address", "%DOWNSTREAM_REMOTE_ADDRESS%"),
    ("requested_server_name", "%REQUESTED_SERVER_NAME%"),
    ("upstream_transport_failure_reason", "%UPSTREAM_TRANSPORT_FAILURE_REASON%"),
];

/// The logs of requests and connections that pass the proxy in one direction.
pub fn logs(snapshot: &Snapshot, view: &ProxyView, inbound: bool) -> Vec<AccessLog> {
    match from_telemetry(snapshot, view, inbound) {
        Some(logs) => logs,
        None => from_mesh(&snapshot.settings.mesh).into_iter().collect(),
    }
}

/// The same for connections that match no filter chain.
pub fn unmatched(snapshot: &Snapshot, view: &ProxyView, inbound: bool) -> Vec<AccessLog> {
    let mut logs = logs(snapshot, view, inbound);
    for log in &mut logs {
        let flags = ResponseFlagFilter { flags: vec!["NR".to_owned()] };
        log.filter = Some(AccessLogFilter {
            filter_specifier: Some(access_log_filter::FilterSpecifier::ResponseFlagFilter(flags)),
        });
    }
    logs
}

fn from_mesh(mesh: &MeshConfig) -> Option<AccessLog> {
    if mesh.access_log_file.is_empty() {
        return None;
    }
    let format = match mesh.access_log_encoding {
        AccessLogEncoding::Json => json(json_fields(&mesh.access_log_format)),
        AccessLogEncoding::Text => text(&mesh.access_log_format),
    };
    Some(file(&mesh.access_log_file, format))
}

/// The most specific Telemetry that speaks of access logs: the workload's, its namespace's, the mesh's.
fn from_telemetry(snapshot: &Snapshot, view: &ProxyView, inbound: bool) -> Option<Vec<AccessLog>> {
    let own = &view.identity.namespace;
    let root = snapshot.settings.root_namespace();
    let mut candidates = Vec::new();
    for (rank, namespace) in [(1, own.as_str()), (2, root)] {
        for telemetry in snapshot.telemetries.of(namespace) {
            let selector =
                telemetry.spec.selector.as_ref().map(|s| &s.match_labels).filter(|l| !l.is_empty());
            let rank = match selector {
                Some(selector) if namespace == own && labels::contains(&view.labels, selector) => 0,
                Some(_) => continue,
                None => rank,
            };
            let age = (rank, telemetry.meta.creation_timestamp.clone(), telemetry.meta.name.clone());
            candidates.push((age, telemetry));
        }
    }
    candidates.sort_by(|a, b| a.0.cmp(&b.0));
    let (_, telemetry) = candidates.into_iter().find(|(_, t)| !t.spec.access_logging.is_empty())?;
    let mesh = &snapshot.settings.mesh;
    let mut logs = Vec::new();
    for logging in &telemetry.spec.access_logging {
        let mode = logging.matches.as_ref().map(|m| m.mode).unwrap_or_default();
        let applies = match mode {
            WorkloadMode::ClientAndServer => true,
            WorkloadMode::Client => !inbound,
            WorkloadMode::Server => inbound,
        };
        if !applies || logging.disabled == Some(true) {
            continue;
        }
        let named: Vec<&str> = logging.providers.iter().map(|p| p.name.as_str()).collect();
        let defaults = mesh.default_providers.access_logging.iter().map(String::as_str);
        let names = if named.is_empty() { defaults.collect() } else { named };
        if names.is_empty() {
            logs.extend(from_mesh(mesh));
        }
        logs.extend(names.iter().filter_map(|name| provider(mesh, name)));
    }
    Some(logs)
}

fn provider(mesh: &MeshConfig, name: &str) -> Option<AccessLog> {
    let provider = mesh.extension_providers.iter().find(|p| p.name == name)?;
    let settings: &EnvoyFileAccessLog = provider.envoy_file_access_log.as_ref()?;
    let format = settings.log_format.as_ref();
    let mut format = match format.and_then(|f| f.labels.as_ref()) {
        Some(labels) => json(structs::from_map(labels)),
        None => text(format.and_then(|f| f.text.as_deref()).unwrap_or_default()),
    };
    format.omit_empty_values = settings.omit_empty_values;
    Some(file(&settings.path, format))
}

fn text(format: &str) -> SubstitutionFormatString {
    let mut format = if format.is_empty() { DEFAULT_TEXT.to_owned() } else { format.to_owned() };
    if !format.ends_with('\n') {
        format.push('\n');
    }
    let source =
        DataSource { specifier: Some(data_source::Specifier::InlineString(format)), ..Default::default() };
    SubstitutionFormatString {
        format: Some(substitution_format_string::Format::TextFormatSource(source)),
        ..Default::default()
    }
}

fn json(fields: Struct) -> SubstitutionFormatString {
    SubstitutionFormatString {
        format: Some(substitution_format_string::Format::JsonFormat(fields)),
        ..Default::default()
    }
}

/// A user's JSON format is an object of strings; what is none falls back to Istio's.
fn json_fields(format: &str) -> Struct {
    if let Ok(serde_json::Value::Object(map)) = serde_json::from_str(format) {
        return structs::from_map(&map);
    }
    Struct {
        fields: DEFAULT_JSON.iter().map(|(name, value)| ((*name).to_owned(), wire::string(*value))).collect(),
    }
}

fn file(path: &str, format: SubstitutionFormatString) -> AccessLog {
    let config = FileAccessLog {
        path: path.to_owned(),
        access_log_format: Some(file_access_log::AccessLogFormat::LogFormat(format)),
    };
    AccessLog {
        name: "envoy.access_loggers.file".to_owned(),
        config_type: Some(access_log::ConfigType::TypedConfig(any::pack(&config))),
        ..Default::default()
    }
}
