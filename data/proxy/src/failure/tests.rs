use super::*;

/// Status, gRPC status, flag, details, blame, retriable: one line for every failure.
const TABLE: &str = "\
400 13 DPE missing_host_header Downstream None
400 13 DPE path_normalization_failed Downstream None
400 13 DPE unexpected_underscore Downstream None
501 2 DPE http1.invalid_transfer_encoding Downstream None
400 13 DPE codec_error Downstream None
404 12 NR route_not_found Local None
503 14 NC cluster_not_found Local None
503 14 UH no_healthy_upstream Local None
503 14 UF upstream_reset_before_response_started{connection_timeout} Upstream Some(Connect)
503 14 UF upstream_reset_before_response_started{remote_connection_failure|delayed_connect_error:_Connection_refused} Upstream Some(Connect)
503 14 UF upstream_reset_before_response_started{remote_connection_failure|TLS_error:_bad} Upstream Some(Connect)
503 14 UO upstream_reset_before_response_started{overflow} Local None
503 14 UR upstream_reset_before_response_started{remote_reset} Upstream Some(Reset)
503 14 UR upstream_reset_before_response_started{remote_refused_stream_reset} Upstream Some(Refused)
503 14 UC upstream_reset_before_response_started{connection_termination} Upstream Some(Reset)
502 14 UPE upstream_reset_before_response_started{protocol_error} Upstream Some(Reset)
504 14 UT response_timeout Upstream None
504 14 UT upstream_per_try_timeout Upstream Some(Timeout)
504 14 UMSDR upstream_max_stream_duration_reached Upstream None
504 14 SI stream_idle_timeout Local None
408 2 SI stream_idle_timeout Local None
408 2 - request_overall_timeout Downstream None
503 14 DC downstream_remote_disconnect Downstream None
403 7 - upgrade_failed Local None
418 2 FI fault_filter_abort Local None
";

#[test]
fn every_failure_has_its_row() {
    let all = [
        Failure::BadRequest(BadRequest::MissingHost),
        Failure::BadRequest(BadRequest::Path),
        Failure::BadRequest(BadRequest::Underscore),
        Failure::BadRequest(BadRequest::TransferEncoding),
        Failure::BadRequest(BadRequest::Malformed),
        Failure::RouteNotFound,
        Failure::ClusterNotFound(StatusCode::SERVICE_UNAVAILABLE),
        Failure::NoHealthyUpstream,
        Failure::Connect(ConnectError::Timeout),
        Failure::Connect(ConnectError::Failed("Connection refused".into())),
        Failure::Connect(ConnectError::Tls("bad".into())),
        Failure::Overflow,
        Failure::UpstreamReset,
        Failure::UpstreamRefused,
        Failure::UpstreamTerminated,
        Failure::UpstreamProtocol,
        Failure::ResponseTimeout,
        Failure::PerTryTimeout,
        Failure::MaxStreamDuration,
        Failure::StreamIdle { request_complete: true },
        Failure::StreamIdle { request_complete: false },
        Failure::RequestTimeout,
        Failure::DownstreamGone,
        Failure::UpgradeRefused,
        Failure::FaultInjected(StatusCode::IM_A_TEAPOT),
    ];
    let mut table = String::new();
    for failure in &all {
        let row = failure.outcome();
        let status = row.status;
        table.push_str(&format!(
            "{} {} {} {} {:?} {:?}\n",
            status.as_u16(),
            grpc_status(status),
            row.flag,
            row.details,
            row.blame,
            row.broken
        ));
    }
    assert_eq!(table, TABLE);
}
