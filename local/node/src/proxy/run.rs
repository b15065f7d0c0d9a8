//! Keeps the rules, the names and the host's ports in step with services and endpoints.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use tokio::sync::watch;

use super::host::HostForwards;
use super::{nft, program, table};
use crate::cache::Cache;
use crate::dns::zone::Zone;

/// What others may want to know of the applied state.
pub struct Outputs {
    /// The names of the cluster.
    pub zone: watch::Sender<Arc<Zone>>,
    /// Pod addresses that get new connections.
    pub serving: watch::Sender<Arc<BTreeSet<Ipv4Addr>>>,
}

/// How long until a port of the host that was taken is asked for again.
const PORT_RETRY: Duration = Duration::from_secs(5);

/// Runs until the task is dropped.
pub async fn run(
    services: Cache<Service>,
    slices: Cache<EndpointSlice>,
    outputs: Outputs,
    mut forwards: HostForwards,
) {
    let (mut services_changed, mut slices_changed) = (services.changes(), slices.changes());
    let mut applied = None;
    loop {
        services_changed.mark_unchanged();
        slices_changed.mark_unchanged();
        let (all_services, all_slices) = (services.all(), slices.all());
        let (by_ref, slices_by_ref) = (refs(&all_services), refs(&all_slices));
        // Names first: who resolves a name now finds rules by the time it connects, or is told to try again.
        outputs
            .zone
            .send_replace(Arc::new(Zone::build(by_ref.iter().copied(), slices_by_ref.iter().copied())));
        let table = table::build(by_ref.iter().copied(), slices_by_ref.iter().copied());
        if applied.as_ref() != Some(&table) {
            match nft::apply(&program::render(&table)).await {
                Ok(()) => applied = Some(table),
                Err(error) => {
                    tracing::error!(%error, "the service rules were not applied");
                    tokio::time::sleep(Duration::from_millis(500)).await;
                    continue;
                }
            }
        }
        let serving = serving(&all_slices);
        outputs.serving.send_if_modified(|now| {
            let changed = **now != serving;
            if changed {
                *now = Arc::new(serving);
            }
            changed
        });
        forwards.update(&all_services).await;
        tokio::select! {
            changed = services_changed.changed() => if changed.is_err() { return },
            changed = slices_changed.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(PORT_RETRY), if forwards.lacks() => {}
        }
        // Changes come in swarms: one program for all that arrive within a moment.
        tokio::time::sleep(Duration::from_millis(3)).await;
    }
}

fn refs<T>(all: &[Arc<T>]) -> Vec<&T> {
    all.iter().map(AsRef::as_ref).collect()
}

fn serving(slices: &[Arc<EndpointSlice>]) -> BTreeSet<Ipv4Addr> {
    let endpoints = slices.iter().flat_map(|s| s.endpoints.iter().flatten());
    let ready = endpoints.filter(|e| e.conditions.as_ref().and_then(|c| c.ready).unwrap_or(true));
    ready.flat_map(|e| e.addresses.iter().filter_map(|a| a.parse().ok())).collect()
}
