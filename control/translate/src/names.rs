//! The names that Istio gives to Envoy's resources. Users and tools read them, so they are part of the interface.

/// Traffic to addresses that no service owns.
pub const PASSTHROUGH: &str = "PassthroughCluster";
/// Traffic that has nowhere to go.
pub const BLACK_HOLE: &str = "BlackHoleCluster";
/// Inbound traffic to ports that no service names.
pub const INBOUND_PASSTHROUGH: &str = "InboundPassthroughCluster";
/// The listener that captured outbound traffic arrives at.
pub const VIRTUAL_OUTBOUND: &str = "virtualOutbound";
/// The listener that captured inbound traffic arrives at.
pub const VIRTUAL_INBOUND: &str = "virtualInbound";
/// Virtual host for unknown hosts when outbound traffic is free.
pub const ALLOW_ANY: &str = "allow_any";
/// Virtual host for unknown hosts when outbound traffic is limited to the registry.
pub const BLOCK_ALL: &str = "block_all";
/// Virtual host that answers 404 at a gateway port without routes.
pub const BLACKHOLE_VHOST: &str = "blackhole";

/// The address through which the proxy reaches the application without being captured again.
pub const INBOUND_SOURCE_V4: &str = "127.0.0.6";
/// The same for IPv6.
pub const INBOUND_SOURCE_V6: &str = "::6";

/// `outbound|9080|v1|reviews.default.svc.cluster.local`
pub fn outbound(port: u16, subset: &str, hostname: &str) -> String {
    format!("outbound|{port}|{subset}|{hostname}")
}

/// `inbound|9080||`
pub fn inbound(port: u16) -> String {
    format!("inbound|{port}||")
}

/// `outbound_.9080_.v1_.reviews.default.svc.cluster.local`: the form that is a valid server name.
pub fn sni(port: u16, subset: &str, hostname: &str) -> String {
    format!("outbound_.{port}_.{subset}_.{hostname}")
}

/// A cluster name taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutboundName<'a> {
    /// Service port.
    pub port: u16,
    /// Subset; empty for all of the service.
    pub subset: &'a str,
    /// Host name of the service.
    pub hostname: &'a str,
}

/// Reads what [`outbound`] wrote.
pub fn parse_outbound(name: &str) -> Option<OutboundName<'_>> {
    let mut parts = name.splitn(4, '|');
    if parts.next()? != "outbound" {
        return None;
    }
    Some(OutboundName { port: parts.next()?.parse().ok()?, subset: parts.next()?, hostname: parts.next()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_survive_a_round_trip() {
        let name = outbound(9080, "v1", "reviews.default.svc.cluster.local");
        assert_eq!(name, "outbound|9080|v1|reviews.default.svc.cluster.local");
        let parsed = parse_outbound(&name).unwrap();
        assert_eq!(
            (parsed.port, parsed.subset, parsed.hostname),
            (9080, "v1", "reviews.default.svc.cluster.local")
        );
        assert_eq!(parse_outbound("inbound|9080||"), None);
        assert_eq!(parse_outbound("outbound|x||h"), None);
    }
}
