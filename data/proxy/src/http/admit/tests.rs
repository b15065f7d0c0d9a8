use super::*;
use crate::base::address::Address;

fn connection(remote: &str) -> ConnectionInfo {
    let remote = Address::Ip(format!("{remote}:5000").parse().unwrap());
    ConnectionInfo::new(1, Address::Ip("10.0.0.9:80".parse().unwrap()), remote)
}

fn head(headers: &[(&str, &str)]) -> RequestHead {
    let headers = headers.iter().map(|(k, v)| (k.parse().unwrap(), v.parse().unwrap())).collect();
    RequestHead { headers, ..RequestHead::default() }
}

fn trust(use_remote_address: bool, hops: u32) -> Trust {
    Trust { use_remote_address, hops, skip_append: false, internal: Vec::new() }
}

#[test]
fn the_trusted_address_is_counted_from_the_right() {
    let chain = head(&[("x-forwarded-for", "1.1.1.1, 2.2.2.2, 3.3.3.3")]);
    for (edge, hops, expected) in [
        (true, 0, "9.9.9.9"),
        (true, 1, "3.3.3.3"),
        (true, 2, "2.2.2.2"),
        (false, 0, "3.3.3.3"),
        (false, 1, "2.2.2.2"),
    ] {
        let address = trusted_address(&trust(edge, hops), &connection("9.9.9.9"), &chain);
        assert_eq!(address, Some(expected.parse().unwrap()), "{edge} {hops}");
    }
}

#[test]
fn an_edge_appends_the_address_and_replaces_the_scheme() {
    let mut head = head(&[("x-forwarded-for", "1.1.1.1"), ("x-forwarded-proto", "https")]);
    forwarded(&trust(true, 0), &connection("9.9.9.9"), &mut head);
    assert_eq!(head.text(&FORWARDED_FOR), Some("1.1.1.1,9.9.9.9"));
    assert_eq!(head.text(&FORWARDED_PROTO), Some("http"));
}

#[test]
fn a_sidecar_leaves_both_alone() {
    let mut head = head(&[("x-forwarded-for", "1.1.1.1"), ("x-forwarded-proto", "https")]);
    forwarded(&trust(false, 0), &connection("9.9.9.9"), &mut head);
    assert_eq!(head.text(&FORWARDED_FOR), Some("1.1.1.1"));
    assert_eq!(head.scheme, "https");
}

#[test]
fn only_single_hops_from_configured_addresses_are_internal() {
    let internal = |edge, remote: &str, xff: &str| {
        let trust = Trust { internal: vec!["10.0.0.0/8".parse().unwrap()], ..trust(edge, 0) };
        is_internal(&trust, &connection(remote), &head(&[("x-forwarded-for", xff)]))
    };
    assert!(internal(true, "10.1.1.1", "10.1.1.1"));
    assert!(!internal(true, "8.8.8.8", "10.1.1.1"));
    assert!(internal(false, "8.8.8.8", "10.1.1.1"));
    assert!(!internal(false, "8.8.8.8", "10.1.1.1,10.2.2.2"));
    let xff = head(&[("x-forwarded-for", "10.1.1.1")]);
    assert!(!is_internal(&trust(true, 0), &connection("10.1.1.1"), &xff), "nobody is inside by default");
}

#[test]
fn other_codings_than_chunks_are_not_taken() {
    let coded = |values: &[&str]| {
        let headers: Vec<_> = values.iter().map(|value| ("transfer-encoding", *value)).collect();
        transfer_encoding(&head(&headers).headers)
    };
    assert_eq!((coded(&[]), coded(&["Chunked"])), (Ok(()), Ok(())));
    let refused = Err(Failure::BadRequest(BadRequest::TransferEncoding));
    assert_eq!((coded(&["gzip, chunked"]), coded(&["gzip", "chunked"])), (refused.clone(), refused));
}

#[test]
fn two_hosts_are_none() {
    let request = http::Request::get("/").header(HOST, "a").header(HOST, "b").body(()).unwrap();
    let (mut parts, ()) = request.into_parts();
    assert_eq!(super::head(&mut parts, false).authority, "");
}

#[test]
fn hop_by_hop_headers_go_with_those_connection_lists() {
    let listed = [("connection", "close, x-mine"), ("x-mine", "1"), ("keep-alive", "5"), ("te", "gzip")];
    let mut plain = head(&listed).headers;
    hop_by_hop(&mut plain, false);
    assert!(plain.is_empty(), "{plain:?}");
    let mut upgrade =
        head(&[("connection", "Upgrade"), ("upgrade", "websocket"), ("te", "trailers")]).headers;
    hop_by_hop(&mut upgrade, true);
    assert_eq!(upgrade.len(), 3);
}

#[test]
fn uuids_have_their_form() {
    assert_eq!(uuid(0), "00000000-0000-4000-8000-000000000000");
    assert_eq!(uuid(u128::MAX), "ffffffff-ffff-4fff-bfff-ffffffffffff");
}
