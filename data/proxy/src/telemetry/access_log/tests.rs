use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use http::{HeaderMap, HeaderValue, Method};
use meltemi_proto::envoy::config::accesslog::v3 as proto;
use serde_json::json;

use super::*;
use crate::base::address::Address;
use crate::base::head::RequestHead;
use crate::telemetry::flags::Flags;
use crate::telemetry::info::{
    CertificateInfo, ClusterTags, ConnectionInfo, Protocol, RequestInfo, TlsInfo, UpstreamInfo,
};

const ISTIO_TEXT: &str = "[%START_TIME%] \"%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%\" %RESPONSE_CODE% %RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS% %CONNECTION_TERMINATION_DETAILS% \"%UPSTREAM_TRANSPORT_FAILURE_REASON%\" %BYTES_RECEIVED% %BYTES_SENT% %DURATION% %RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% \"%REQ(X-FORWARDED-FOR)%\" \"%REQ(USER-AGENT)%\" \"%REQ(X-REQUEST-ID)%\" \"%REQ(:AUTHORITY)%\" \"%UPSTREAM_HOST%\" %UPSTREAM_CLUSTER_RAW% %UPSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_REMOTE_ADDRESS% %REQUESTED_SERVER_NAME% %ROUTE_NAME%\n";

struct Seen {
    info: RequestInfo,
    head: RequestHead,
    response: HeaderMap,
}

impl Seen {
    fn context(&self) -> LogContext<'_> {
        LogContext {
            info: &self.info,
            request: Some(&self.head),
            response: Some(&self.response),
            trailers: None,
        }
    }
}

fn ip(text: &str) -> Address {
    Address::Ip(text.parse().unwrap())
}

fn seen() -> Seen {
    let mut connection = ConnectionInfo::new(7, ip("10.96.4.2:9080"), ip("10.244.0.5:40000"));
    connection.requested_server_name = Some("outbound_.9080_._.reviews.default.svc.cluster.local".into());
    connection.tls = Some(Arc::new(TlsInfo {
        version: "TLSv1.3",
        peer: Some(Arc::new(CertificateInfo {
            uri_sans: vec!["spiffe://cluster.local/ns/default/sa/bookinfo-productpage".into()],
            ..CertificateInfo::default()
        })),
        ..TlsInfo::default()
    }));
    let mut info = RequestInfo::new(Arc::new(connection), Some(Protocol::Http11));
    info.start_time = UNIX_EPOCH + Duration::from_millis(1_700_000_000_123);
    info.response_code = Some(200);
    info.details = Some("via_upstream".into());
    info.route = Some("default".into());
    info.bytes.sent = 295;
    info.timings.response_end = Some(info.start + Duration::from_millis(42));
    info.timings.upstream_response_start = Some(info.start + Duration::from_millis(40));
    info.upstream = UpstreamInfo {
        cluster: Some(Arc::new(ClusterTags {
            name: "outbound|9080||reviews.default.svc.cluster.local".into(),
            observability_name: "outbound|9080||reviews.default.svc.cluster.local;".into(),
            ..ClusterTags::default()
        })),
        host: Some(ip("10.244.0.9:9080")),
        local: Some(ip("10.244.0.5:51000")),
        ..UpstreamInfo::default()
    };
    info.set_metadata("envoy.filters.http.rbac", "shadow", json!({"policy": "p1", "n": 3}));
    let mut head = RequestHead {
        method: Method::GET,
        authority: "reviews:9080".to_owned(),
        path: "/reviews/0".to_owned(),
        ..RequestHead::default()
    };
    head.headers.insert("user-agent", HeaderValue::from_static("curl/8 \"x\""));
    head.headers.insert("x-request-id", HeaderValue::from_static("6f5d"));
    let mut response = HeaderMap::new();
    response.insert("x-envoy-upstream-service-time", HeaderValue::from_static("41"));
    Seen { info, head, response }
}

fn text(format: &str, seen: &Seen) -> String {
    let mut line = Vec::new();
    format::Text::compile(format, false).unwrap().write(&mut line, &seen.context());
    String::from_utf8(line).unwrap()
}

fn json_line(format: serde_json::Value, omit_empty: bool, seen: &Seen) -> String {
    let fields = meltemi_proto::structs::from_map(format.as_object().unwrap());
    let mut line = Vec::new();
    json::JsonFormat::compile(&fields, omit_empty).unwrap().write(&mut line, &seen.context());
    String::from_utf8(line).unwrap()
}

#[test]
fn istios_default_text_line() {
    let expected = concat!(
        "[2023-11-14T22:13:20.123Z] \"GET /reviews/0 HTTP/1.1\" 200 - via_upstream - \"-\" 0 295 42 41 \"-\" ",
        "\"curl/8 \"x\"\" \"6f5d\" \"reviews:9080\" \"10.244.0.9:9080\" ",
        "outbound|9080||reviews.default.svc.cluster.local 10.244.0.5:51000 10.96.4.2:9080 10.244.0.5:40000 ",
        "outbound_.9080_._.reviews.default.svc.cluster.local default\n"
    );
    assert_eq!(text(ISTIO_TEXT, &seen()), expected);
}

#[test]
fn istios_default_json_line() {
    let format = json!({
        "start_time": "%START_TIME%", "route_name": "%ROUTE_NAME%", "method": "%REQ(:METHOD)%",
        "path": "%REQ(X-ENVOY-ORIGINAL-PATH?:PATH)%", "protocol": "%PROTOCOL%", "response_code": "%RESPONSE_CODE%",
        "response_flags": "%RESPONSE_FLAGS%", "response_code_details": "%RESPONSE_CODE_DETAILS%",
        "connection_termination_details": "%CONNECTION_TERMINATION_DETAILS%", "bytes_received": "%BYTES_RECEIVED%",
        "bytes_sent": "%BYTES_SENT%", "duration": "%DURATION%",
        "upstream_service_time": "%RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)%", "x_forwarded_for": "%REQ(X-FORWARDED-FOR)%",
        "user_agent": "%REQ(USER-AGENT)%", "request_id": "%REQ(X-REQUEST-ID)%", "authority": "%REQ(:AUTHORITY)%",
        "upstream_host": "%UPSTREAM_HOST%", "upstream_cluster": "%UPSTREAM_CLUSTER_RAW%",
        "upstream_local_address": "%UPSTREAM_LOCAL_ADDRESS%", "downstream_local_address": "%DOWNSTREAM_LOCAL_ADDRESS%",
        "downstream_remote_address": "%DOWNSTREAM_REMOTE_ADDRESS%", "requested_server_name": "%REQUESTED_SERVER_NAME%",
        "upstream_transport_failure_reason": "%UPSTREAM_TRANSPORT_FAILURE_REASON%",
    });
    let expected = concat!(
        r#"{"authority":"reviews:9080","bytes_received":0,"bytes_sent":295,"connection_termination_details":null,"#,
        r#""downstream_local_address":"10.96.4.2:9080","downstream_remote_address":"10.244.0.5:40000","duration":42,"#,
        r#""method":"GET","path":"/reviews/0","protocol":"HTTP/1.1","request_id":"6f5d","#,
        r#""requested_server_name":"outbound_.9080_._.reviews.default.svc.cluster.local","response_code":200,"#,
        r#""response_code_details":"via_upstream","response_flags":"-","route_name":"default","#,
        r#""start_time":"2023-11-14T22:13:20.123Z","upstream_cluster":"outbound|9080||reviews.default.svc.cluster.local","#,
        r#""upstream_host":"10.244.0.9:9080","upstream_local_address":"10.244.0.5:51000","upstream_service_time":"41","#,
        r#""upstream_transport_failure_reason":null,"user_agent":"curl/8 \"x\"","x_forwarded_for":null}"#,
        "\n"
    );
    assert_eq!(json_line(format, false, &seen()), expected);
}

#[test]
fn operators_one_by_one() {
    let seen = seen();
    for (format, expected) in [
        ("%REQ(X-NONE?USER-AGENT):4%", "curl"),
        ("%UPSTREAM_CLUSTER%", "outbound|9080||reviews.default.svc.cluster.local;"),
        ("%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%", "10.244.0.5"),
        ("%DOWNSTREAM_REMOTE_PORT% %UPSTREAM_REMOTE_PORT%", "40000 9080"),
        ("%DOWNSTREAM_PEER_URI_SAN%", "spiffe://cluster.local/ns/default/sa/bookinfo-productpage"),
        ("%DOWNSTREAM_TLS_VERSION% %DOWNSTREAM_PEER_SUBJECT% %UPSTREAM_TLS_CIPHER%", "TLSv1.3 - -"),
        ("%DYNAMIC_METADATA(envoy.filters.http.rbac:shadow:policy)%", "p1"),
        ("%DYNAMIC_METADATA(envoy.filters.http.rbac:shadow)%", r#"{"policy":"p1","n":3}"#),
        ("%FILTER_STATE(none:PLAIN)%", "-"),
        ("%RESPONSE_DURATION% %RESPONSE_TX_DURATION% %REQUEST_DURATION%", "40 2 -"),
        ("%COMMON_DURATION(DS_RX_BEG:US_RX_BEG:us)%", "40000"),
        ("%GRPC_STATUS% %TRAILER(X)% %CONNECTION_ID%", "- - 7"),
    ] {
        assert_eq!(text(format, &seen), expected, "{format}");
    }
}

#[test]
fn grpc_status_comes_from_trailers() {
    let seen = seen();
    let trailers: HeaderMap = HeaderMap::from_iter([(
        http::HeaderName::from_static("grpc-status"),
        HeaderValue::from_static("14"),
    )]);
    let context = LogContext { trailers: Some(&trailers), ..seen.context() };
    let mut line = Vec::new();
    let format = "%GRPC_STATUS% %GRPC_STATUS(SNAKE_STRING)% %GRPC_STATUS_NUMBER%";
    format::Text::compile(format, false).unwrap().write(&mut line, &context);
    assert_eq!(line, b"Unavailable UNAVAILABLE 14");
}

#[test]
fn json_keeps_structure_and_may_omit_what_is_empty() {
    let format = json!({
        "nested": {"list": ["%RESPONSE_CODE%", "a %PROTOCOL%", 1.5, true]},
        "gone": "%ROUTE_NAME%",
        "meta": "%DYNAMIC_METADATA(envoy.filters.http.rbac:shadow)%",
    });
    let mut seen = seen();
    seen.info.route = None;
    let expected =
        "{\"meta\":{\"policy\":\"p1\",\"n\":3},\"nested\":{\"list\":[200,\"a HTTP/1.1\",1.5,true]}}\n";
    assert_eq!(json_line(format, true, &seen), expected);
}

#[test]
fn unknown_operators_are_named() {
    let compile = |format: &str| format::Text::compile(format, false).unwrap_err().to_string();
    assert!(compile("%NO_SUCH_THING%").contains("%NO_SUCH_THING%"));
    assert!(compile("%REQ%").contains("REQ needs arguments"));
    assert!(compile("%PROTOCOL(x)%").contains("PROTOCOL takes no arguments"));
    assert!(compile("%REQ(sp ace)%").contains("sp ace"));
}

#[test]
fn a_line_reaches_its_file_and_the_filter_is_asked() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("access.log");
    let config = json!({
        "filter": {"or_filter": {"filters": [
            {"status_code_filter": {"comparison": {"op": "GE", "value": {"default_value": 500, "runtime_key": "k"}}}},
            {"response_flag_filter": {"flags": ["UF"]}},
        ]}},
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog",
            "path": path, "log_format": {"text_format_source": {"inline_string": "%RESPONSE_CODE%\n"}},
        },
    });
    let config: proto::AccessLog = meltemi_proto::json::from_json(&config).unwrap();
    let sinks = Sinks::new(1);
    let logs = AccessLogs::compile(&[config], &sinks).unwrap();
    let mut seen = seen();
    logs.log(&seen.context());
    seen.info.flags.set(Flags::UPSTREAM_CONNECTION_FAILURE);
    logs.log(&seen.context());
    seen.info.response_code = Some(503);
    logs.log(&seen.context());
    sinks.flush();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "200\n503\n");

    std::fs::rename(&path, dir.path().join("old")).unwrap();
    sinks.reopen();
    logs.log(&seen.context());
    drop(logs);
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "503\n");
}

#[test]
fn a_rejection_names_log_and_field() {
    let config = json!({"typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.access_loggers.stream.v3.StdoutAccessLog",
        "log_format": {"json_format": {"a": "%WHAT%"}},
    }});
    let config: proto::AccessLog = meltemi_proto::json::from_json(&config).unwrap();
    let error = AccessLogs::compile(&[config], &Sinks::new(1)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "access_log[0].typed_config.log_format.json_format.a: unknown command operator %WHAT%"
    );
}
