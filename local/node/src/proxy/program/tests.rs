use super::*;

fn port(name: &str, last: u8, endpoints: &[(u8, u16)]) -> Port {
    Port {
        name: name.into(),
        address: Ipv4Addr::new(10, 96, 0, last),
        protocol: Protocol::Tcp,
        port: 80,
        node_port: None,
        affinity: Affinity::None,
        endpoints: endpoints.iter().map(|(ip, port)| (Ipv4Addr::new(10, 244, 0, *ip), *port)).collect(),
    }
}

#[test]
fn the_program_of_three_services() {
    let mut many = port("default/reviews:http", 20, &[(5, 9080), (6, 9080)]);
    many.node_port = Some(30080);
    let mut sticky = port("default/sticky", 21, &[(5, 80), (6, 80), (7, 80)]);
    sticky.affinity = Affinity::ClientIp;
    sticky.protocol = Protocol::Udp;
    let table = Table {
        ports: vec![many, sticky, port("default/one", 22, &[(7, 81)]), port("default/none", 23, &[])],
    };
    let golden = include_str!("golden.nft");
    let text = render(&table);
    assert_eq!(text, golden, "render() differs from golden.nft; new text:\n{text}");
}

#[test]
fn an_empty_table_is_a_program_too() {
    let text = render(&Table::default());
    assert!(!text.contains("elements") && text.contains("chain prerouting"), "{text}");
}
