//! Transport sockets of a cluster and which of them a host gets.

use std::sync::Arc;

use meltemi_proto::envoy::config::cluster::v3::Cluster as Proto;
use meltemi_proto::envoy::config::core::v3::{Metadata, TransportSocket, transport_socket::ConfigType};
use meltemi_proto::envoy::extensions::transport_sockets::tls::v3::UpstreamTlsContext;
use meltemi_proto::google::protobuf::{Any, Struct};

use crate::base::reject::{At, Compiled, Reject, required, unpack};
use crate::tls::client::ClientContext;
use crate::tls::secret::Secrets;

/// The endpoint metadata that selects a transport socket.
const MATCH_KEY: &str = "envoy.transport_socket_match";
const RAW_BUFFER: &str = "envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer";
const TLS: &str = "envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext";

/// How bytes travel to a host.
#[derive(Debug, Clone)]
pub enum Transport {
    /// In the clear.
    Raw,
    /// In TLS.
    Tls(Arc<ClientContext>),
}

/// The transport sockets of a cluster.
#[derive(Debug)]
pub struct Transports {
    list: Vec<Transport>,
    matches: Vec<(Struct, usize)>,
}

impl Default for Transports {
    fn default() -> Self {
        Self { list: vec![Transport::Raw], matches: Vec::new() }
    }
}

impl Transports {
    /// Compiles `transport_socket` and `transport_socket_matches`.
    pub fn compile(proto: &Proto, secrets: &Secrets) -> Compiled<Self> {
        let mut list = vec![match &proto.transport_socket {
            None => Transport::Raw,
            Some(socket) => Transport::compile(socket, secrets).at("transport_socket")?,
        }];
        let mut matches = Vec::new();
        for (index, item) in proto.transport_socket_matches.iter().enumerate() {
            let compiled = required("transport_socket", &item.transport_socket)
                .and_then(|socket| Transport::compile(socket, secrets).at("transport_socket"))
                .at(format_args!("transport_socket_matches[{index}]"))?;
            matches.push((item.r#match.clone().unwrap_or_default(), list.len()));
            list.push(compiled);
        }
        Ok(Self { list, matches })
    }

    /// The index of the socket for a host with that metadata: the first match whose every value is there.
    pub fn choose(&self, metadata: Option<&Metadata>) -> usize {
        let values = metadata.and_then(|m| m.filter_metadata.get(MATCH_KEY));
        let fits = |wanted: &Struct| {
            wanted.fields.iter().all(|(key, value)| values.is_some_and(|v| v.fields.get(key) == Some(value)))
        };
        self.matches.iter().find(|(wanted, _)| fits(wanted)).map_or(0, |(_, index)| *index)
    }

    /// The index for a host without metadata.
    pub fn default_index(&self) -> usize {
        self.choose(None)
    }

    /// The socket at an index from [`Self::choose`].
    pub fn get(&self, index: usize) -> &Transport {
        self.list.get(index).unwrap_or(&Transport::Raw)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Transport> {
        self.list.iter()
    }
}

impl Transport {
    fn compile(proto: &TransportSocket, secrets: &Secrets) -> Compiled<Self> {
        let any: &Any = match &proto.config_type {
            Some(ConfigType::TypedConfig(any)) => any,
            None if proto.name == "envoy.transport_sockets.raw_buffer" => return Ok(Self::Raw),
            None => return Err(Reject::new("typed_config", "is required")),
        };
        match meltemi_proto::any::message_name(&any.type_url) {
            RAW_BUFFER => Ok(Self::Raw),
            TLS => {
                let context = unpack::<UpstreamTlsContext>("typed_config", any)?;
                let compiled = ClientContext::compile(&context, secrets).at("typed_config")?;
                Ok(Self::Tls(Arc::new(compiled)))
            }
            other => Err(Reject::new("typed_config", format!("transport socket {other} is not supported"))),
        }
    }
}
