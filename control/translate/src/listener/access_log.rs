//! Access logs, from MeshConfig and Telemetry.

use std::sync::Arc;

use meltemi_config::Object;
use meltemi_config::istio::Telemetry;
use meltemi_config::istio::telemetry::{AccessLogging, WorkloadMode};
use meltemi_config::mesh_config::extension_provider::EnvoyFileAccessLog;
use meltemi_config::mesh_config::{AccessLogEncoding, MeshConfig};
use meltemi_mesh::labels::Labels;
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
    let mesh = &snapshot.settings.mesh;
    let log = |sink: Sink<'_>| match sink {
        Sink::Mesh => from_mesh(mesh),
        Sink::Provider(name) => provider(mesh, name),
    };
    sinks(snapshot, view, inbound).into_iter().filter_map(log).collect()
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

/// Where logs go.
#[derive(Clone, Copy, PartialEq)]
enum Sink<'a> {
    /// The file that MeshConfig names.
    Mesh,
    /// A provider of MeshConfig.
    Provider(&'a str),
}

/// The sinks of one direction: MeshConfig's, then as the Telemetries of the mesh, the namespace and the workload change
/// them, each for the directions that it speaks of.
fn sinks<'a>(snapshot: &'a Snapshot, view: &ProxyView, inbound: bool) -> Vec<Sink<'a>> {
    let defaults = &snapshot.settings.mesh.default_providers.access_logging;
    let mut known: Vec<Sink<'a>> = defaults.iter().map(|name| Sink::Provider(name)).collect();
    if known.is_empty() {
        known.push(Sink::Mesh);
    }
    let mut current = known.clone();
    for telemetry in telemetries(snapshot, view) {
        let mut named_here = Vec::new();
        for logging in telemetry.spec.access_logging.iter().filter(|l| concerns(l, inbound)) {
            let named: Vec<Sink<'a>> = logging.providers.iter().map(|p| Sink::Provider(&p.name)).collect();
            match (logging.disabled == Some(true), named.is_empty()) {
                (true, true) => current.clear(),
                (true, false) => current.retain(|sink| !named.contains(sink)),
                // What was switched off further out is switched on again.
                (false, true) if current.is_empty() => current.clone_from(&known),
                (false, true) => {}
                (false, false) => {
                    named_here.extend(named);
                    current.clone_from(&named_here);
                    known.clone_from(&named_here);
                }
            }
        }
    }
    current
}

fn concerns(logging: &AccessLogging, inbound: bool) -> bool {
    match logging.matches.as_ref().map(|m| m.mode).unwrap_or_default() {
        WorkloadMode::ClientAndServer => true,
        WorkloadMode::Client => !inbound,
        WorkloadMode::Server => inbound,
    }
}

/// Is a Telemetry with that selector meant?
type Fits<'a> = &'a dyn Fn(Option<&Labels>) -> bool;

/// The Telemetries about a proxy's access logs, the widest first: the mesh's, its namespace's, the workload's. Of several
/// in one place the oldest counts.
fn telemetries<'a>(snapshot: &'a Snapshot, view: &ProxyView) -> Vec<&'a Object<Telemetry>> {
    let own = view.identity.namespace.as_str();
    let root = snapshot.settings.root_namespace();
    let oldest = |namespace: &str, fits: Fits<'_>| {
        let all = snapshot.telemetries.of(namespace).map(Arc::as_ref);
        let all = all.filter(|t: &&Object<Telemetry>| {
            // What names targets is for gateways and services that we have not; it is not for the whole namespace.
            let targeted = t.spec.target_ref.is_some() || !t.spec.target_refs.is_empty();
            let selector = t.spec.selector.as_ref().map(|s| &s.match_labels).filter(|l| !l.is_empty());
            !targeted && !t.spec.access_logging.is_empty() && fits(selector)
        });
        all.min_by_key(|t| (t.meta.creation_timestamp.clone(), t.meta.name.clone()))
    };
    let whole = |selector: Option<&Labels>| selector.is_none();
    let selected = |selector: Option<&Labels>| selector.is_some_and(|s| labels::contains(&view.labels, s));
    let of_namespace = if own == root { None } else { oldest(own, &whole) };
    oldest(root, &whole).into_iter().chain(of_namespace).chain(oldest(own, &selected)).collect()
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
