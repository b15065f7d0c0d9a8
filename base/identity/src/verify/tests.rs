use std::time::{Duration, SystemTime};

use rustls::ServerConnection;
use rustls::client::ClientConnection;

use super::*;
use crate::authority::Authority;
use crate::san::{Kind, Pattern};
use crate::tls::{self, Credential};
use crate::{SpiffeId, csr, serving};

const HOUR: Duration = Duration::from_secs(3600);

fn credential(authority: &Authority, id: &str, now: SystemTime) -> Credential {
    let id: SpiffeId = id.parse().unwrap();
    let (key, request) = csr::generate(&id).unwrap();
    Credential::from_pem(&authority.sign_at(&request, &id, now, HOUR).unwrap(), &key).unwrap()
}

fn roots(authority: &Authority) -> Roots {
    Roots::from_pem(&authority.root_pem()).unwrap()
}

/// Shakes hands in memory; returns the error of the side that refused.
fn shake(client: rustls::ClientConfig, server: rustls::ServerConfig) -> Result<(), String> {
    let name = ServerName::try_from("whatever.test").unwrap();
    let mut client = ClientConnection::new(Arc::new(client), name).unwrap();
    let mut server = ServerConnection::new(Arc::new(server)).unwrap();
    while client.is_handshaking() || server.is_handshaking() {
        let mut wire = Vec::new();
        client.write_tls(&mut wire).unwrap();
        server.read_tls(&mut wire.as_slice()).unwrap();
        server.process_new_packets().map_err(|error| format!("server: {error}"))?;
        let mut wire = Vec::new();
        server.write_tls(&mut wire).unwrap();
        client.read_tls(&mut wire.as_slice()).unwrap();
        client.process_new_packets().map_err(|error| format!("client: {error}"))?;
    }
    Ok(())
}

fn client(
    authority: &Authority,
    allowed: Vec<SanMatcher>,
    credential: Option<Credential>,
) -> rustls::ClientConfig {
    tls::client_config(ServerVerifier::new(roots(authority), allowed), credential, &[b"istio"]).unwrap()
}

fn server(credential: Credential, verifier: Option<ClientVerifier>) -> rustls::ServerConfig {
    tls::server_config(Arc::new(credential), verifier, &[b"istio"]).unwrap()
}

const A: &str = "spiffe://td/ns/a/sa/a";
const B: &str = "spiffe://td/ns/b/sa/b";

#[test]
fn both_sides_know_each_other() {
    let ca = Authority::self_signed("td", 9 * HOUR).unwrap();
    let now = SystemTime::now();
    let client = client(&ca, vec![SanMatcher::uri(B)], Some(credential(&ca, A, now)));
    let verifier = ClientVerifier::required(roots(&ca), vec![SanMatcher::trust_domain("td")]);
    assert_eq!(shake(client, server(credential(&ca, B, now), Some(verifier))), Ok(()));
}

#[test]
fn a_chain_with_an_intermediate_is_followed() {
    let ca = Authority::self_signed("td", 9 * HOUR).unwrap();
    let middle = ca.intermediate("middle", 9 * HOUR).unwrap();
    let now = SystemTime::now();
    let client = client(&ca, vec![SanMatcher::uri(B)], Some(credential(&middle, A, now)));
    let verifier = ClientVerifier::required(roots(&ca), vec![]);
    assert_eq!(shake(client, server(credential(&middle, B, now), Some(verifier))), Ok(()));
}

#[test]
fn clients_refuse_servers() {
    let now = SystemTime::now();
    let ca = Authority::self_signed_at("td", now - 9 * HOUR, 99 * HOUR).unwrap();
    let foreign = Authority::self_signed("elsewhere", 9 * HOUR).unwrap();
    let namesake = Authority::self_signed("td", 9 * HOUR).unwrap();
    let regex = SanMatcher { kind: Kind::Uri, pattern: Pattern::regex("spiffe://other/.*").unwrap() };
    let table = [
        ("wrong SAN", vec![SanMatcher::uri(A)], credential(&ca, B, now), "expected one of"),
        (
            "wrong trust domain",
            vec![SanMatcher::trust_domain("other")],
            credential(&ca, B, now),
            "expected one of",
        ),
        ("wrong by regex", vec![regex], credential(&ca, B, now), "expected one of"),
        ("expired", vec![], credential(&ca, B, now - 5 * HOUR), "Expired"),
        ("not yet valid", vec![], credential(&ca, B, now + 5 * HOUR), "NotValidYet"),
        ("unknown root", vec![], credential(&foreign, B, now), "UnknownIssuer"),
        ("root of the same name", vec![], credential(&namesake, B, now), "BadSignature"),
    ];
    for (case, allowed, shown, expected) in table {
        let error = shake(client(&ca, allowed, None), server(shown, None)).unwrap_err();
        assert!(error.starts_with("client: ") && error.contains(expected), "{case}: {error}");
    }
}

#[test]
fn servers_refuse_clients() {
    let now = SystemTime::now();
    let ca = Authority::self_signed_at("td", now - 9 * HOUR, 99 * HOUR).unwrap();
    let foreign = Authority::self_signed("elsewhere", 9 * HOUR).unwrap();
    let namesake = Authority::self_signed("td", 9 * HOUR).unwrap();
    let table = [
        ("none", None, "no certificates"),
        ("unknown root", Some(credential(&foreign, A, now)), "UnknownIssuer"),
        ("root of the same name", Some(credential(&namesake, A, now)), "BadSignature"),
        ("expired", Some(credential(&ca, A, now - 5 * HOUR)), "Expired"),
        ("other trust domain", Some(credential(&ca, "spiffe://other/ns/a/sa/a", now)), "expected one of"),
    ];
    for (case, shown, expected) in table {
        let verifier = ClientVerifier::required(roots(&ca), vec![SanMatcher::trust_domain("td")]);
        let error =
            shake(client(&ca, vec![], shown), server(credential(&ca, B, now), Some(verifier))).unwrap_err();
        assert!(error.starts_with("server: ") && error.contains(expected), "{case}: {error}");
    }
}

#[test]
fn an_optional_certificate_may_be_missing_but_not_wrong() {
    let now = SystemTime::now();
    let ca = Authority::self_signed("td", 9 * HOUR).unwrap();
    let foreign = Authority::self_signed("td", 9 * HOUR).unwrap();
    let verifier = || Some(ClientVerifier::optional(roots(&ca), vec![]));
    let shown = || credential(&ca, B, now);
    assert_eq!(shake(client(&ca, vec![], None), server(shown(), verifier())), Ok(()));
    let wrong = Some(credential(&foreign, A, now));
    assert!(shake(client(&ca, vec![], wrong), server(shown(), verifier())).is_err());
}

#[test]
fn serving_certificates_are_checked_by_dns_name_and_address() {
    let ca = Authority::self_signed("td", 9 * HOUR).unwrap();
    let serving = serving::issue(&ca, &["istiod.istio-system.svc", "127.0.0.1"], HOUR).unwrap();
    let shown = || Credential::from_pem(&serving.chain_pem, &serving.key_pem).unwrap();
    for (name, fine) in [("istiod.istio-system.svc", true), ("127.0.0.1", true), ("istiod.evil.svc", false)] {
        let result = shake(client(&ca, vec![SanMatcher::exact(name)], None), server(shown(), None));
        assert_eq!(result.is_ok(), fine, "{name}: {result:?}");
    }
}

#[test]
fn a_key_of_another_certificate_is_no_credential() {
    let ca = Authority::self_signed("td", HOUR).unwrap();
    let one = serving::issue(&ca, &["a"], HOUR).unwrap();
    let two = serving::issue(&ca, &["a"], HOUR).unwrap();
    assert!(Credential::from_pem(&one.chain_pem, &two.key_pem).is_err());
    assert!(!format!("{one:?}").contains("KEY"));
}
