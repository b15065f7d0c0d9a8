//! WorkloadGroup: a template for WorkloadEntries that register themselves.

use std::collections::BTreeMap;

use crate::istio::WorkloadEntry;

message! {
    /// What the entries of a group share.
    pub struct WorkloadGroup {
        pub metadata: Option<WorkloadGroupMeta>,
        pub template: WorkloadEntry,
        pub probe: Option<ReadinessProbe>,
    }

    /// Labels and annotations of the entries.
    pub struct WorkloadGroupMeta {
        pub labels: BTreeMap<String, String>,
        pub annotations: BTreeMap<String, String>,
    }

    /// How the agent asks whether the application is ready.
    #[schemars(extend("x-oneof" = [["httpGet", "tcpSocket", "exec", "grpc"]]))]
    pub struct ReadinessProbe {
        pub initial_delay_seconds: i32,
        pub timeout_seconds: i32,
        pub period_seconds: i32,
        pub success_threshold: i32,
        pub failure_threshold: i32,
        pub http_get: Option<HttpHealthCheck>,
        pub tcp_socket: Option<TcpHealthCheck>,
        pub exec: Option<ExecHealthCheck>,
        pub grpc: Option<GrpcHealthCheck>,
    }

    /// Any 2xx or 3xx is healthy.
    pub struct HttpHealthCheck {
        pub path: String,
        pub port: u32,
        pub host: String,
        pub scheme: String,
        pub http_headers: Vec<HttpHeader>,
    }

    /// A header of the probe.
    pub struct HttpHeader {
        pub name: String,
        pub value: String,
    }

    /// A connection that opens is healthy.
    pub struct TcpHealthCheck {
        pub host: String,
        pub port: u32,
    }

    /// Exit code 0 is healthy.
    pub struct ExecHealthCheck {
        pub command: Vec<String>,
    }

    /// gRPC's health protocol.
    pub struct GrpcHealthCheck {
        pub port: u32,
        pub service: String,
    }
}
