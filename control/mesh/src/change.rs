//! Changes of the mesh, and what a change touched.

use std::collections::BTreeSet;

use meltemi_config::mesh_config::MeshConfig;
use meltemi_config::{AnyObject, Kind};

use crate::export::ExportTo;
use crate::labels::Labels;

/// One change, as the sources see it.
#[derive(Debug, Clone)]
pub enum Change {
    /// The object is new or different.
    Upsert(AnyObject),
    /// The object is gone.
    Delete(Kind, String, String),
    /// MeshConfig is different.
    MeshConfig(Box<MeshConfig>),
}

/// Something that a change touched, with all that is needed to tell whom it concerns. Where an object changed, the
/// scope covers the old and the new one: who no longer sees an object must hear of it too.
#[derive(Debug, Clone, PartialEq)]
pub enum Touched {
    /// Settings of the whole mesh.
    Mesh,
    /// A service was declared, changed or withdrawn.
    Service {
        /// Host name.
        hostname: String,
        /// Namespace of the declaring object.
        namespace: String,
        /// Who may see it.
        export_to: ExportTo,
    },
    /// Endpoints of a service.
    Endpoints {
        /// Host name.
        hostname: String,
        /// Namespace of the service.
        namespace: String,
        /// Who may see the service.
        export_to: ExportTo,
        /// More than EDS depends on these endpoints: names, identities, or headless addresses changed.
        beyond_eds: bool,
    },
    /// A VirtualService.
    VirtualService {
        /// Namespace and name.
        object: (String, String),
        /// `mesh` or `namespace/name`.
        gateways: BTreeSet<String>,
        /// Complete host names; empty for a delegate.
        hosts: BTreeSet<String>,
        /// Who may see it.
        export_to: ExportTo,
    },
    /// A DestinationRule.
    DestinationRule {
        /// Namespace of the object.
        namespace: String,
        /// Complete host names.
        hosts: BTreeSet<String>,
        /// Who may see it.
        export_to: ExportTo,
    },
    /// A Gateway, with the labels of its old and new selector.
    Gateway {
        /// Selectors.
        selectors: Vec<Labels>,
    },
    /// A PeerAuthentication of that namespace.
    PeerAuthentication {
        /// Namespace of the object.
        namespace: String,
    },
    /// A Sidecar of that namespace.
    Sidecar {
        /// Namespace of the object.
        namespace: String,
    },
    /// A Telemetry of that namespace.
    Telemetry {
        /// Namespace of the object.
        namespace: String,
    },
    /// A pod or WorkloadEntry itself: its labels or ports.
    Workload {
        /// Namespace.
        namespace: String,
        /// Name.
        name: String,
        /// Addresses before and after.
        addresses: BTreeSet<String>,
    },
    /// A secret that a gateway may serve.
    Credential {
        /// Namespace.
        namespace: String,
        /// Name.
        name: String,
    },
}

/// All that changed between two snapshots.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ChangeSet {
    /// In the order in which it happened.
    pub touched: Vec<Touched>,
}

impl ChangeSet {
    /// Nothing changed.
    pub fn is_empty(&self) -> bool {
        self.touched.is_empty()
    }

    /// Adds what a later change touched.
    pub fn merge(&mut self, later: ChangeSet) {
        for touched in later.touched {
            self.push(touched);
        }
    }

    /// Adds one, unless it is already there.
    pub fn push(&mut self, touched: Touched) {
        // A burst of changes of one object is common; a long memory is not needed.
        let recent = self.touched.len().saturating_sub(32);
        if !self.touched[recent..].contains(&touched) {
            self.touched.push(touched);
        }
    }

    /// Only endpoints changed: such a change needs no debounce.
    pub fn endpoints_only(&self) -> bool {
        self.touched.iter().all(|t| matches!(t, Touched::Endpoints { beyond_eds: false, .. }))
    }
}
