//! `istio.peer_metadata`: peers tell each other who they are in headers, which are taken away before the application or a
//! stranger sees them.

use std::sync::Arc;

use http::HeaderMap;
use meltemi_proto::google::protobuf::Any;
use meltemi_proto::istio::peer_metadata::Config;
use meltemi_proto::istio::peer_metadata::config::discovery_method::MethodSpecifier as Discovery;
use meltemi_proto::istio::peer_metadata::config::propagation_method::MethodSpecifier as Propagation;
use meltemi_proto::istio::peer_metadata::config::{DiscoveryMethod, PropagationMethod};

use super::{Cx, Deps};
use crate::base::reject::{Compiled, unpack};
use crate::telemetry::istio::peer::{METADATA_HEADER, OwnHeaders, Peer, strip};

/// The compiled filter.
#[derive(Debug)]
pub struct PeerMetadata {
    read_request: bool,
    read_response: bool,
    write_request: Option<Arc<OwnHeaders>>,
    /// Requests that leave the mesh say nothing of us.
    skip_external: bool,
    write_response: Option<Arc<OwnHeaders>>,
}

/// Compiles Istio's message. Workload discovery and baggage are ambient's; they find nothing here.
pub fn compile(any: &Any, deps: &Deps) -> Compiled<PeerMetadata> {
    let proto = unpack::<Config>("", any)?;
    let reads = |methods: &[DiscoveryMethod]| {
        methods.iter().any(|m| matches!(m.method_specifier, Some(Discovery::IstioHeaders(_))))
    };
    let writes = |methods: &[PropagationMethod]| {
        if methods.iter().any(|m| m.method_specifier.is_some()) { deps.own.clone() } else { None }
    };
    let skips = |method: &PropagationMethod| {
        let Some(Propagation::IstioHeaders(headers)) = &method.method_specifier else { return false };
        headers.skip_external_clusters
    };
    Ok(PeerMetadata {
        read_request: reads(&proto.downstream_discovery),
        read_response: reads(&proto.upstream_discovery),
        write_request: writes(&proto.upstream_propagation),
        skip_external: proto.upstream_propagation.iter().any(skips),
        write_response: writes(&proto.downstream_propagation),
    })
}

impl PeerMetadata {
    pub(super) fn on_request(&self, cx: &mut Cx<'_>) {
        if self.read_request {
            cx.notes.peer_introduced = cx.head.headers.contains_key(METADATA_HEADER);
            if let Some(peer) = Peer::of_headers(&cx.head.headers) {
                cx.info.downstream_peer = Some(peer);
            }
            strip(&mut cx.head.headers);
        }
        if let Some(own) = &self.write_request {
            own.apply(&mut cx.head.headers);
            cx.notes.only_inside = self.skip_external;
        }
    }

    pub(super) fn on_response(&self, cx: &mut Cx<'_>, headers: &mut HeaderMap) {
        if self.read_response {
            if let Some(peer) = Peer::of_headers(headers) {
                cx.info.upstream.peer = Some(peer);
            }
            strip(headers);
        }
        // Only a peer that introduced itself is answered: nobody outside the mesh learns who we are.
        if let Some(own) = self.write_response.as_ref().filter(|_| cx.notes.peer_introduced) {
            own.apply(headers);
        }
    }
}
