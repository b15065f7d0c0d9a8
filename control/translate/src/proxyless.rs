//! Resources for gRPC's own xDS clients and servers, which have no proxy beside them ("proxyless"). They ask for
//! everything by name, understand a part of Envoy's fields only, and refuse what they do not understand.
//!
//! A program says that it is one by `"GENERATOR": "grpc"` in its node's metadata. It asks for
//!
//! * listeners `HOST:PORT` of the services that it calls, and `xds.istio.io/grpc/lds/inbound/ADDRESS:PORT` of its own ports,
//! * routes and clusters `outbound|PORT|SUBSET|HOST`, and the endpoints of the clusters.

use std::collections::BTreeSet;

use meltemi_mesh::service::Service;
use meltemi_mesh::{Port, Protocol, ProxyView, Snapshot};
use meltemi_proto::type_url;

use crate::names;
use crate::resource::{Names, Resources, encode};

mod clusters;
mod endpoints;
mod inbound;
mod listeners;
mod routes;
mod tls;

/// What a node's metadata says under `GENERATOR`.
const GENERATOR: &str = "grpc";

/// Is this a gRPC program without a proxy?
pub fn is(view: &ProxyView) -> bool {
    view.identity.metadata.generator() == GENERATOR
}

/// The resources of one type.
pub fn resources(type_url: &str, snapshot: &Snapshot, view: &ProxyView, names: &Names<'_>) -> Resources {
    let wanted = wanted(type_url, view, names);
    let wanted = wanted.as_ref();
    match type_url {
        type_url::LISTENER => {
            let all = listeners::named(snapshot, view, wanted);
            encode(type_url::LISTENER, all, names, |l| &l.name)
        }
        type_url::ROUTE => encode(type_url::ROUTE, routes::named(snapshot, view, wanted), names, |r| &r.name),
        type_url::CLUSTER => {
            encode(type_url::CLUSTER, clusters::named(snapshot, view, wanted), names, |c| &c.name)
        }
        type_url::ENDPOINT => {
            let all = endpoints::named(snapshot, view, wanted);
            encode(type_url::ENDPOINT, all, names, |e| &e.cluster_name)
        }
        _ => Resources::new(),
    }
}

/// The names asked for. Who asks for everything, as tools do, gets all services.
fn wanted<'n>(type_url: &str, view: &ProxyView, names: &Names<'n>) -> std::borrow::Cow<'n, BTreeSet<String>> {
    if let Names::Only(names) = names {
        return std::borrow::Cow::Borrowed(names);
    }
    let name = |service: &Service, port: &Port| match type_url {
        type_url::LISTENER => format!("{}:{}", service.key.hostname, port.number),
        _ => names::outbound(port.number, "", &service.key.hostname),
    };
    let all = view.services.iter().flat_map(|s| ports(s).map(|port| name(s, port)));
    std::borrow::Cow::Owned(all.collect())
}

/// Ports that can be called.
fn ports(service: &Service) -> impl Iterator<Item = &Port> {
    service.ports.iter().filter(|port| port.protocol != Protocol::Udp)
}

/// The service and port that a resource name `outbound|PORT|SUBSET|HOST` means.
fn outbound<'v>(view: &'v ProxyView, name: &str) -> Option<(&'v Service, &'v Port)> {
    let parsed = names::parse_outbound(name)?;
    let service = view.service(parsed.hostname)?;
    let port = ports(service).find(|port| port.number == parsed.port)?;
    Some((service, port))
}
