//! `istio.alpn`: which protocols the upstream handshake offers, by the protocol of the request sent upstream.

use std::sync::Arc;

use meltemi_proto::google::protobuf::Any;
use meltemi_proto::istio::alpn::FilterConfig;
use meltemi_proto::istio::alpn::filter_config::Protocol;

use crate::base::reject::{Compiled, unpack};
use crate::upstream::pool::Wire;

/// A list of protocol names.
pub type Protocols = Arc<[Vec<u8>]>;

/// The lists of protocols by upstream protocol.
#[derive(Debug, Default)]
pub struct AlpnOverrides {
    http1: Option<Protocols>,
    http2: Option<Protocols>,
}

impl AlpnOverrides {
    /// The list for requests sent that way.
    pub fn of(&self, wire: Wire) -> Option<&Protocols> {
        match wire {
            Wire::Http1 => self.http1.as_ref(),
            Wire::Http2 => self.http2.as_ref(),
            Wire::Auto => None,
        }
    }
}

/// Compiles Istio's message.
pub fn compile(any: &Any) -> Compiled<AlpnOverrides> {
    let proto = unpack::<FilterConfig>("", any)?;
    let mut overrides = AlpnOverrides::default();
    for entry in &proto.alpn_override {
        let list: Protocols = entry.alpn_override.iter().map(|p| p.clone().into_bytes()).collect();
        match entry.upstream_protocol() {
            Protocol::Http10 => {}
            Protocol::Http11 => overrides.http1 = Some(list),
            Protocol::Http2 => overrides.http2 = Some(list),
        }
    }
    Ok(overrides)
}

#[cfg(test)]
mod tests {
    use super::*;
    use meltemi_proto::istio::alpn::filter_config::AlpnOverride;

    #[test]
    fn lists_are_found_by_protocol() {
        let proto = FilterConfig {
            alpn_override: vec![AlpnOverride {
                upstream_protocol: Protocol::Http2 as i32,
                alpn_override: vec!["istio-h2".into(), "h2".into()],
            }],
        };
        let overrides = compile(&meltemi_proto::any::pack(&proto)).unwrap();
        assert_eq!(overrides.of(Wire::Http2).unwrap().len(), 2);
        assert!(overrides.of(Wire::Http1).is_none());
    }
}
