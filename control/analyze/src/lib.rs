//! Cross-object diagnostics with Istio's codes: what is wrong, where, and what to do about it. Fixes nothing.
//!
//! The analyzers ask the same snapshot that translation asks, so they cannot disagree with what the proxies get.

mod annotations;
mod conflicts;
mod context;
mod gateways;
mod injection;
mod mtls;
mod ports;
mod references;
mod tls;

pub mod code;

use meltemi_config::mesh_config::MeshConfig;
use meltemi_config::{AnyObject, Diagnostic, Kind, unsupported, validate};
use meltemi_mesh::change::Change;
use meltemi_mesh::{Settings, World};

use context::Context;

/// A finding and the object it is about.
#[derive(Debug, Clone, PartialEq)]
pub struct Finding {
    /// Position of the object in the input.
    pub object: usize,
    /// Kind of the object.
    pub kind: Kind,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// What is wrong and where.
    pub diagnostic: Diagnostic,
}

/// Finds what is wrong with these objects and between them.
///
/// Findings stand in the order of the objects, and within an object in the order of the analyzers.
pub fn analyze(objects: &[AnyObject], mesh: &MeshConfig) -> Vec<Finding> {
    let mut world = World::new(Settings::new(mesh.clone()));
    for object in objects {
        world.apply(Change::Upsert(object.clone()));
    }
    let snapshot = world.snapshot();
    let mut context = Context::new(objects, &snapshot);
    for (position, object) in objects.iter().enumerate() {
        validate(object).into_iter().for_each(|found| context.add(position, found));
        unsupported::object(object).into_iter().for_each(|found| context.add(position, found));
    }
    for analyzer in ANALYZERS {
        analyzer(&mut context);
    }
    context.into_findings()
}

/// Everything that looks at more than one object, or at what the API server would not look at.
const ANALYZERS: &[fn(&mut Context<'_>)] = &[
    references::virtual_services,
    references::gateways,
    conflicts::virtual_services,
    conflicts::sidecars,
    conflicts::gateways,
    gateways::ports,
    gateways::virtual_service_hosts,
    mtls::policies,
    tls::verification,
    ports::service_names,
    ports::service_entries,
    ports::destinations_all,
    injection::namespaces,
    injection::pods,
    annotations::all,
];

#[cfg(test)]
mod tests;
