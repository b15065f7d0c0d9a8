//! Istio's own telemetry: the standard metrics and the exchange of workload metadata between peers.

mod expression;
mod labels;
mod overrides;
pub mod peer;
mod series;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use meltemi_proto::envoy::config::core::v3::{Node, TrafficDirection};
use meltemi_proto::istio::stats as proto;
use meltemi_proto::structs;

use self::overrides::Overrides;
use self::peer::Peer;
pub use self::series::SeriesStore;
use self::series::{METRICS, Metric, Outcome, Probe, Series};
use super::info::{LogContext, RequestInfo};

/// Who reports: the client's side, the server's side, or a waypoint between them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reporter {
    /// `source`
    Source,
    /// `destination`
    Destination,
    /// `waypoint`
    Waypoint,
}

impl Reporter {
    fn of(config: &proto::PluginConfig, direction: TrafficDirection) -> Self {
        match (config.reporter(), direction) {
            (proto::Reporter::ServerGateway, _) => Reporter::Waypoint,
            (_, TrafficDirection::Inbound) => Reporter::Destination,
            _ => Reporter::Source,
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            Reporter::Source => "source",
            Reporter::Destination => "destination",
            Reporter::Waypoint => "waypoint",
        }
    }
}

/// The filter `istio.stats`, compiled for one listener's direction.
#[derive(Debug)]
pub struct IstioStats {
    id: u64,
    reporter: Reporter,
    local: Peer,
    host_fallback: bool,
    overrides: Overrides,
    store: SeriesStore,
}

impl IstioStats {
    /// Compiles the filter for the proxy `node`. The second value says which overrides could not be applied.
    pub fn compile(
        config: &proto::PluginConfig,
        direction: TrafficDirection,
        node: &Node,
        store: &SeriesStore,
    ) -> (Self, Vec<String>) {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let (overrides, reports) = Overrides::compile(config);
        let metadata = node.metadata.clone().unwrap_or_default();
        store.build_info(
            structs::string(&metadata, "ISTIO_VERSION").filter(|v| !v.is_empty()).unwrap_or("unknown"),
        );
        let stats = IstioStats {
            id: NEXT.fetch_add(1, Ordering::Relaxed),
            reporter: Reporter::of(config, direction),
            local: Peer::of(&metadata),
            host_fallback: !config.disable_host_header_fallback,
            overrides,
            store: store.clone(),
        };
        (stats, reports)
    }

    /// Counts a finished request.
    pub fn record(&self, context: &LogContext<'_>) {
        let info = context.info;
        let grpc = info.grpc.then(|| context.grpc_status());
        self.with_series(context, grpc, false, |series| {
            series.count(Metric::Requests, 1);
            series.record(Metric::Duration, u64::try_from(info.duration().as_millis()).unwrap_or(u64::MAX));
            series.record(Metric::RequestBytes, info.bytes.wire_received);
            series.record(Metric::ResponseBytes, info.bytes.wire_sent);
            if info.grpc {
                series.count(Metric::RequestMessages, info.grpc_messages.0);
                series.count(Metric::ResponseMessages, info.grpc_messages.1);
            }
        });
    }

    fn with_series<R>(
        &self,
        context: &LogContext<'_>,
        grpc: Option<Option<u32>>,
        tcp: bool,
        act: impl FnOnce(&Arc<Series>) -> R,
    ) -> R {
        let info = context.info;
        let destination = labels::destination(context, self.host_fallback);
        let values = &self.overrides.expressions;
        let values: Vec<String> =
            values.iter().map(|e| e.evaluate(context).unwrap_or_else(|| "unknown".to_owned())).collect();
        let outcome = Outcome { code: info.response_code.unwrap_or(0), flags: info.flags.bits(), grpc, tcp };
        let probe = Probe {
            stats: self.id,
            cluster: info.upstream.cluster.as_ref(),
            host: destination.host,
            service: destination.name,
            downstream: info.source_peer().filter(|_| self.reporter != Reporter::Source),
            upstream: info.upstream.peer.as_ref().filter(|_| self.reporter != Reporter::Destination),
            principals: labels::principals(self.reporter, info),
            outcome,
            values: &values,
        };
        probe.with(|| self.make(context, outcome, &values), act)
    }

    fn make(&self, context: &LogContext<'_>, outcome: Outcome, values: &[String]) -> Series {
        let common = labels::common(self.reporter, &self.local, context, self.host_fallback);
        let policy = labels::security_policy(self.reporter, labels::principals(self.reporter, context.info));
        let mut series = Series::default();
        for (metric, ..) in METRICS {
            if !outcome.wants(metric) || self.overrides.drops(metric) {
                continue;
            }
            let mut labels = common.clone();
            labels.push(("request_protocol", outcome.protocol().to_owned()));
            if matches!(
                metric,
                Metric::Requests | Metric::Duration | Metric::RequestBytes | Metric::ResponseBytes
            ) {
                let status = outcome.grpc.flatten().map(|status| status.to_string()).unwrap_or_default();
                labels.push(("response_code", outcome.code.to_string()));
                labels.push(("grpc_response_status", status));
            }
            if !matches!(metric, Metric::RequestMessages | Metric::ResponseMessages) {
                labels.push(("response_flags", context.info.flags.to_string()));
            }
            labels.push(("connection_security_policy", policy.to_owned()));
            if let Some(group) = self.store.get(metric, self.overrides.apply(metric, &mut labels, values)) {
                series.set(metric, group);
            }
        }
        series
    }
}

impl Outcome {
    fn protocol(self) -> &'static str {
        match (self.tcp, self.grpc) {
            (true, _) => "tcp",
            (_, Some(_)) => "grpc",
            _ => "http",
        }
    }

    fn wants(self, metric: Metric) -> bool {
        match metric {
            Metric::TcpSent | Metric::TcpReceived | Metric::TcpOpened | Metric::TcpClosed => self.tcp,
            Metric::RequestMessages | Metric::ResponseMessages => self.grpc.is_some(),
            _ => !self.tcp,
        }
    }
}

/// What was already counted of one TCP session. Call [`TcpReport::progress`] every few seconds (Istio: 5 s) once the peer is
/// known, and [`TcpReport::close`] at the end.
#[derive(Debug, Default)]
pub struct TcpReport {
    series: Option<Arc<Series>>,
    sent: u64,
    received: u64,
}

impl TcpReport {
    /// Counts what has happened since the last call; the first call counts the session as opened.
    pub fn progress(&mut self, stats: &IstioStats, info: &RequestInfo) {
        let series = self.series.get_or_insert_with(|| {
            let series = stats.with_series(&LogContext::tcp(info), None, true, Arc::clone);
            series.count(Metric::TcpOpened, 1);
            series
        });
        series.count(Metric::TcpSent, info.bytes.sent.saturating_sub(self.sent));
        series.count(Metric::TcpReceived, info.bytes.received.saturating_sub(self.received));
        (self.sent, self.received) = (info.bytes.sent, info.bytes.received);
    }

    /// Counts the rest and the end.
    pub fn close(&mut self, stats: &IstioStats, info: &RequestInfo) {
        self.progress(stats, info);
        if let Some(series) = &self.series {
            series.count(Metric::TcpClosed, 1);
        }
    }
}
