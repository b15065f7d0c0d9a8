use super::*;
use crate::csr;

const HOUR: Duration = Duration::from_secs(3600);

fn id() -> SpiffeId {
    SpiffeId::new("cluster.local", "default", "reviews").unwrap()
}

#[test]
fn a_leaf_says_who_asked_and_nothing_else() {
    let authority = Authority::self_signed("cluster.local", 10 * HOUR).unwrap();
    let other = SpiffeId::new("cluster.local", "kube-system", "admin").unwrap();
    // The request asks for another identity than the one the caller proved.
    let (_, request) = csr::generate(&other).unwrap();
    let leaf = chain::parse(&authority.sign(&request, &id(), HOUR).unwrap()).unwrap();
    assert_eq!(leaf.len(), 1, "the root is not part of the chain");
    let info = chain::inspect(&leaf[0]).unwrap();
    assert_eq!(info.spiffe_id().unwrap(), Some(id()));
    assert!(!info.is_ca && info.dns.is_empty() && info.uris.len() == 1);
}

#[test]
fn validity_is_as_asked_but_never_longer_than_the_authority() {
    let now = UNIX_EPOCH + Duration::from_secs(1_800_000_000);
    let authority = Authority::self_signed_at("td", now, 2 * HOUR).unwrap();
    let (_, request) = csr::generate(&id()).unwrap();
    let expiry = |ttl| {
        let leaf = authority.sign_at(&request, &id(), now, ttl).unwrap();
        chain::expiry(&chain::parse(&leaf).unwrap()[0]).unwrap()
    };
    assert_eq!(expiry(HOUR), now + HOUR);
    assert_eq!(expiry(5 * HOUR), now + 2 * HOUR);
    let error = authority.sign_at(&request, &id(), now + 3 * HOUR, HOUR).unwrap_err();
    assert!(error.to_string().contains("expired"), "{error}");
}

#[test]
fn bad_requests_are_the_peers_fault() {
    let authority = Authority::self_signed("td", HOUR).unwrap();
    let (key, good) = csr::generate(&id()).unwrap();
    let forged = tamper(&good);
    for request in ["", "not PEM", &key, &forged, &"A".repeat(MAX_CSR + 1)] {
        let error = authority.sign(request, &id(), HOUR).unwrap_err();
        assert!(matches!(error, AuthorityError::Request(_)), "{error}");
    }
}

/// Flips a bit in the signature.
fn tamper(pem: &str) -> String {
    use base64::Engine;
    let body: String = pem.lines().filter(|line| !line.starts_with("---")).collect();
    let engine = base64::engine::general_purpose::STANDARD;
    let mut der = engine.decode(body).unwrap();
    *der.last_mut().unwrap() ^= 1;
    let body = engine.encode(der);
    format!("-----BEGIN CERTIFICATE REQUEST-----\n{body}\n-----END CERTIFICATE REQUEST-----\n")
}

#[test]
fn an_authority_survives_its_pem() {
    let first = Authority::self_signed("td", HOUR).unwrap();
    let second = Authority::from_pem(&first.root_pem(), &first.key_pem()).unwrap();
    assert_eq!(first.root_pem(), second.root_pem());
}

#[test]
fn foreign_keys_and_leaves_make_no_authority() {
    let one = Authority::self_signed("td", HOUR).unwrap();
    let two = Authority::self_signed("td", HOUR).unwrap();
    let error = Authority::from_pem(&one.root_pem(), &two.key_pem()).unwrap_err();
    assert!(error.to_string().contains("does not belong"), "{error}");
    let (key, request) = csr::generate(&id()).unwrap();
    let leaf = one.sign(&request, &id(), HOUR).unwrap();
    let error = Authority::from_pem(&leaf, &key).unwrap_err();
    assert!(error.to_string().contains("may not sign"), "{error}");
}

#[test]
fn an_intermediate_sends_itself_along() {
    let root = Authority::self_signed("td", HOUR).unwrap();
    let middle = root.intermediate("middle", HOUR).unwrap();
    assert_eq!(middle.root_pem(), root.root_pem());
    let (_, request) = csr::generate(&id()).unwrap();
    let chain = chain::parse(&middle.sign(&request, &id(), HOUR).unwrap()).unwrap();
    assert_eq!(chain.len(), 2);
    assert!(chain::inspect(&chain[1]).unwrap().is_ca);
}

#[test]
fn debug_shows_no_key() {
    let authority = Authority::self_signed("td", HOUR).unwrap();
    assert!(!format!("{authority:?}").contains("KEY"));
}
