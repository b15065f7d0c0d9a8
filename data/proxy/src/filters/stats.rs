//! `istio.stats`: the standard metrics.

use meltemi_proto::envoy::config::core::v3::TrafficDirection;
use meltemi_proto::google::protobuf::Any;
use meltemi_proto::istio::stats::PluginConfig;
use tracing::warn;

use super::Deps;
use crate::base::reject::{Compiled, unpack};
use crate::telemetry::LogContext;
use crate::telemetry::istio::IstioStats;

/// The compiled filter.
#[derive(Debug)]
pub struct Stats(pub(crate) IstioStats);

/// Compiles Istio's message. Overrides that cannot be applied are reported and left out, as Istio's own filter does.
pub fn compile(any: &Any, deps: &Deps, direction: TrafficDirection) -> Compiled<Stats> {
    let proto = unpack::<PluginConfig>("", any)?;
    let (stats, problems) = IstioStats::compile(&proto, direction, &deps.node, &deps.series);
    for problem in problems {
        warn!(%problem, "istio.stats: an override is not applied");
    }
    Ok(Stats(stats))
}

impl Stats {
    /// Counts a finished request.
    pub fn record(&self, context: &LogContext<'_>) {
        self.0.record(context);
    }
}
