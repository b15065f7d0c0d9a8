use super::*;

fn rule(make: impl FnOnce(&mut ChainMatch)) -> ChainMatch {
    let mut rule = ChainMatch::default();
    make(&mut rule);
    rule
}

fn pick(rules: &[ChainMatch], facts: Facts<'_>) -> Option<usize> {
    choose(rules.len(), |at| &rules[at], &facts)
}

const PLAIN: Facts<'static> = Facts {
    local: SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::new(10, 1, 2, 3)), 9080),
    remote: SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::new(10, 9, 9, 9)), 40_000),
    server_name: None,
    transport: "raw_buffer",
    protocols: &[],
};

#[test]
fn the_destination_port_comes_first() {
    let rules = [
        rule(|r| r.destination = vec!["10.1.2.3/32".parse().unwrap()]),
        rule(|r| r.destination_port = Some(9080)),
    ];
    assert_eq!(pick(&rules, PLAIN), Some(1));
    assert_eq!(pick(&rules, Facts { local: "10.1.2.3:1".parse().unwrap(), ..PLAIN }), Some(0));
    assert_eq!(pick(&rules, Facts { local: "10.1.2.4:1".parse().unwrap(), ..PLAIN }), None);
}

#[test]
fn the_longest_prefix_wins() {
    let to = |net: &str| rule(|r| r.destination = vec![net.parse().unwrap()]);
    let rules = [to("0.0.0.0/0"), to("10.1.0.0/16"), to("10.0.0.0/8"), rule(|_| {})];
    assert_eq!(pick(&rules, PLAIN), Some(1));
    assert_eq!(pick(&rules, Facts { local: "11.1.1.1:9080".parse().unwrap(), ..PLAIN }), Some(0));
    assert_eq!(pick(&rules, Facts { local: "[::1]:9080".parse().unwrap(), ..PLAIN }), Some(3));
}

#[test]
fn exact_names_beat_wildcards_and_long_wildcards_short_ones() {
    let named = |name: &str| rule(|r| r.server_names = vec![name.into()]);
    let rules = [named("*.com"), named("*.example.com"), named("www.example.com"), rule(|_| {})];
    let sni = |name| Facts { server_name: Some(name), ..PLAIN };
    assert_eq!(pick(&rules, sni("www.example.com")), Some(2));
    assert_eq!(pick(&rules, sni("api.example.com")), Some(1));
    assert_eq!(pick(&rules, sni("example.com")), Some(0));
    assert_eq!(pick(&rules, sni("example.org")), Some(3));
    assert_eq!(pick(&rules, PLAIN), Some(3));
}

#[test]
fn istios_inbound_chains_are_told_apart() {
    let tls = |protocols: &[&str]| {
        rule(|r| {
            r.transport = "tls".into();
            r.protocols = protocols.iter().map(|p| (*p).into()).collect();
        })
    };
    let mtls_http = tls(&["istio", "istio-peer-exchange", "istio-http/1.0", "istio-http/1.1", "istio-h2"]);
    let plain_http = rule(|r| {
        r.transport = "raw_buffer".into();
        r.protocols = vec!["http/1.1".into(), "h2c".into()];
    });
    let rules = [mtls_http, plain_http, tls(&[]), rule(|r| r.transport = "raw_buffer".into())];
    let offered = |list: &[&str]| list.iter().map(|p| (*p).to_owned()).collect::<Vec<_>>();
    let istio = offered(&["istio-http/1.1", "istio"]);
    assert_eq!(pick(&rules, Facts { transport: "tls", protocols: &istio, ..PLAIN }), Some(0));
    assert_eq!(pick(&rules, Facts { transport: "tls", protocols: &offered(&["h2"]), ..PLAIN }), Some(2));
    assert_eq!(pick(&rules, Facts { protocols: &offered(&["http/1.1"]), ..PLAIN }), Some(1));
    assert_eq!(pick(&rules, PLAIN), Some(3));
}

#[test]
fn there_is_no_way_back_from_a_more_specific_value() {
    // Envoy documents it: the port fits the first chain, whose name then does not, and the second chain is not tried.
    let rules = [
        rule(|r| {
            r.destination_port = Some(9080);
            r.server_names = vec!["a".into()];
        }),
        rule(|_| {}),
    ];
    assert_eq!(pick(&rules, PLAIN), None);
}

#[test]
fn sources_are_the_last_conditions() {
    let rules = [
        rule(|r| r.source_type = Some(true)),
        rule(|r| r.source = vec!["10.9.0.0/16".parse().unwrap()]),
        rule(|r| r.source_ports = vec![40_000]),
    ];
    assert_eq!(pick(&rules, PLAIN), Some(1));
    assert_eq!(pick(&rules, Facts { remote: "127.0.0.1:40000".parse().unwrap(), ..PLAIN }), Some(0));
    assert_eq!(pick(&rules, Facts { remote: "10.8.0.1:40000".parse().unwrap(), ..PLAIN }), Some(2));
}
