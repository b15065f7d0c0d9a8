//! Listener filters: what is looked at before a filter chain is chosen.

use meltemi_proto::any;
use meltemi_proto::envoy::config::listener::v3::listener_filter_chain_match_predicate::{MatchSet, Rule};
use meltemi_proto::envoy::config::listener::v3::{
    Listener, ListenerFilter, ListenerFilterChainMatchPredicate as Predicate, listener_filter,
};
use meltemi_proto::envoy::extensions::filters::listener::{
    http_inspector::v3::HttpInspector, original_dst::v3::OriginalDst, original_src::v3::OriginalSrc,
    tls_inspector::v3::TlsInspector,
};
use meltemi_proto::envoy::r#type::v3::Int32Range;
use meltemi_proto::google::protobuf as wkt;

/// Istio's mark of packets under TPROXY.
const TPROXY_MARK: u32 = 1337;

/// Finds where the connection was going before it was captured.
pub fn original_destination() -> ListenerFilter {
    make("envoy.filters.listener.original_dst", any::pack(&OriginalDst::default()))
}

/// Calls the workload in the client's name, so that it sees the client's address. What is sent is marked: by that the
/// capture rules know it, and route the workload's answers back to the proxy.
pub fn original_source() -> ListenerFilter {
    let config = OriginalSrc { mark: TPROXY_MARK, ..OriginalSrc::default() };
    make("envoy.filters.listener.original_src", any::pack(&config))
}

/// Tells TLS from plain text and reads server name and ALPN.
pub fn tls() -> ListenerFilter {
    make("envoy.filters.listener.tls_inspector", any::pack(&TlsInspector::default()))
}

/// Tells HTTP/1 and HTTP/2 from other protocols.
pub fn http() -> ListenerFilter {
    make("envoy.filters.listener.http_inspector", any::pack(&HttpInspector::default()))
}

/// Switches a filter off for destination ports: where the server speaks first, waiting for the client is a deadlock.
pub fn except_ports(mut filter: ListenerFilter, ports: &[u16]) -> ListenerFilter {
    let mut rules: Vec<Predicate> = ports.iter().map(|port| one_port(*port)).collect();
    filter.filter_disabled = match rules.len() {
        0 => None,
        1 => rules.pop(),
        _ => Some(Predicate { rule: Some(Rule::OrMatch(MatchSet { rules })) }),
    };
    filter
}

fn one_port(port: u16) -> Predicate {
    let range = Int32Range { start: port.into(), end: i32::from(port) + 1 };
    Predicate { rule: Some(Rule::DestinationPortRange(range)) }
}

/// A client that says nothing is not cut off: it may be waiting for the server.
pub fn patient(listener: &mut Listener, timeout: std::time::Duration) {
    listener.listener_filters_timeout = Some(crate::wire::duration(timeout));
    listener.continue_on_listener_filters_timeout = true;
}

fn make(name: &str, config: wkt::Any) -> ListenerFilter {
    ListenerFilter {
        name: name.to_owned(),
        config_type: Some(listener_filter::ConfigType::TypedConfig(config)),
        ..Default::default()
    }
}
