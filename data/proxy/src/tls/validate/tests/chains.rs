//! Chains that are good but for what the configuration says of single certificates.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use meltemi_proto::envoy::config::core::v3::{DataSource, data_source::Specifier};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DnType, IsCa, Issuer, KeyIdMethod,
    KeyPair, KeyUsagePurpose, RevokedCertParams, SerialNumber, date_time_ymd,
};

use super::super::*;
use crate::tls::info::digest;

/// An authority, and its certificate in PEM.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: rcgen::Certificate,
}

fn params(name: &str, serial: u64) -> CertificateParams {
    let mut params = CertificateParams::new(vec![format!("{name}.test")]).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    params.serial_number = Some(SerialNumber::from(serial));
    params
}

fn authority(name: &str, serial: u64, above: Option<&Authority>) -> Authority {
    let mut params = params(name, serial);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let key = KeyPair::generate().unwrap();
    let certificate = match above {
        Some(above) => params.signed_by(&key, &above.issuer).unwrap(),
        None => params.self_signed(&key).unwrap(),
    };
    Authority { issuer: Issuer::new(params, key), certificate }
}

fn leaf(authority: &Authority, serial: u64) -> CertificateDer<'static> {
    let key = KeyPair::generate().unwrap();
    params("leaf", serial).signed_by(&key, &authority.issuer).unwrap().der().clone()
}

fn list(authority: &Authority, revoked: &[u64], until: i32) -> String {
    let revoked = revoked.iter().map(|serial| RevokedCertParams {
        serial_number: SerialNumber::from(*serial),
        revocation_time: date_time_ymd(2020, 1, 1),
        reason_code: None,
        invalidity_date: None,
    });
    let params = CertificateRevocationListParams {
        this_update: date_time_ymd(2020, 1, 1),
        next_update: date_time_ymd(until, 1, 1),
        crl_number: SerialNumber::from(1),
        issuing_distribution_point: None,
        revoked_certs: revoked.collect(),
        key_identifier_method: KeyIdMethod::Sha256,
    };
    params.signed_by(&authority.issuer).unwrap().pem().unwrap()
}

fn inline(text: String) -> Option<DataSource> {
    Some(DataSource { specifier: Some(Specifier::InlineString(text)), ..Default::default() })
}

fn trusting(root: &Authority) -> CertificateValidationContext {
    CertificateValidationContext { trusted_ca: inline(root.certificate.pem()), ..Default::default() }
}

fn check(
    proto: &CertificateValidationContext,
    leaf: &CertificateDer<'_>,
    between: &[CertificateDer<'_>],
) -> Result<(), String> {
    let validation = Validation::compile(proto).unwrap();
    let checked = validation.check(leaf, between, UnixTime::now(), KeyUsage::client_auth());
    checked.map_err(|error| error.to_string())
}

#[test]
fn a_revoked_certificate_is_refused() {
    let root = authority("root", 1, None);
    let with = |crl: String| CertificateValidationContext { crl: inline(crl), ..trusting(&root) };
    let (good, bad) = (leaf(&root, 7), leaf(&root, 8));
    let lists = list(&authority("other", 1, None), &[7], 2999) + &list(&root, &[8], 2999);
    assert_eq!(
        check(&with(lists.clone()), &good, &[]),
        Ok(()),
        "the list of another authority is not about it"
    );
    assert!(check(&with(lists), &bad, &[]).unwrap_err().contains("Revoked"));
    assert_eq!(check(&trusting(&root), &bad, &[]), Ok(()));
    let old = check(&with(list(&root, &[8], 2021)), &good, &[]);
    assert!(old.unwrap_err().contains("CrlExpired"), "what was revoked since is not known");
}

#[test]
fn every_authority_of_the_chain_needs_a_list_or_the_last_one_alone() {
    let root = authority("root", 1, None);
    let between = authority("between", 2, Some(&root));
    let leaf = leaf(&between, 7);
    let chain = [between.certificate.der().clone()];
    let mut proto =
        CertificateValidationContext { crl: inline(list(&between, &[], 2999)), ..trusting(&root) };
    assert!(check(&proto, &leaf, &chain).unwrap_err().contains("UnknownRevocationStatus"));
    proto.only_verify_leaf_cert_crl = true;
    assert_eq!(check(&proto, &leaf, &chain), Ok(()));
    let both = list(&between, &[], 2999) + &list(&root, &[2], 2999);
    let proto = CertificateValidationContext { crl: inline(both), ..trusting(&root) };
    assert!(
        check(&proto, &leaf, &chain).unwrap_err().contains("Revoked"),
        "the authority between is revoked"
    );
}

#[test]
fn lists_join_what_is_delivered_and_need_roots() {
    let root = authority("root", 1, None);
    let bad = leaf(&root, 8);
    let proto = CertificateValidationContext { crl: inline(list(&root, &[8], 2999)), ..Default::default() };
    assert!(check(&proto, &bad, &[]).unwrap_err().contains("Lists"));
    let (listed, rooted) =
        (Validation::compile(&proto).unwrap(), Validation::compile(&trusting(&root)).unwrap());
    for (default, delivered) in [(&listed, &rooted), (&rooted, &listed)] {
        let merged = default.merged(delivered);
        assert!(merged.check(&bad, &[], UnixTime::now(), KeyUsage::client_auth()).is_err());
    }
    let proto = CertificateValidationContext { crl: inline("no list".to_owned()), ..trusting(&root) };
    assert_eq!(Validation::compile(&proto).unwrap_err().field(), "crl");
}

#[test]
fn a_certificate_or_its_key_is_among_those_named() {
    let root = authority("root", 1, None);
    let (ours, other) = (leaf(&root, 7), leaf(&root, 8));
    let hash: String = digest(&ours).as_ref().iter().map(|byte| format!("{byte:02X}")).collect();
    let pairs: Vec<&str> = (0..32).map(|pair| &hash[2 * pair..2 * pair + 2]).collect();
    let (_, parsed) = X509Certificate::from_der(&ours).unwrap();
    let key = BASE64.encode(digest(parsed.public_key().raw).as_ref());
    let nobody = "00".repeat(32);
    for (hashes, keys) in [
        (vec![hash.clone()], vec![]),
        (vec![nobody.clone(), pairs.join(":")], vec![]),
        (vec![], vec![key.clone()]),
        (vec![nobody], vec![key]),
    ] {
        let proto = CertificateValidationContext {
            verify_certificate_hash: hashes,
            verify_certificate_spki: keys,
            ..trusting(&root)
        };
        assert_eq!(check(&proto, &ours, &[]), Ok(()), "{proto:?}");
        let refused = check(&proto, &other, &[]).unwrap_err();
        assert!(refused.contains("Hashes"), "{refused}");
    }
    let unknown = authority("unknown", 1, None);
    let proto = CertificateValidationContext { verify_certificate_hash: vec![hash], ..trusting(&unknown) };
    assert!(check(&proto, &ours, &[]).is_err(), "the chain counts as well");
}

#[test]
fn hashes_that_are_none_are_rejected() {
    for hash in ["", "abcd", &"zz".repeat(32), &"+0".repeat(32), &"00-".repeat(32)[..95]] {
        let proto = CertificateValidationContext {
            verify_certificate_hash: vec![hash.to_owned()],
            ..Default::default()
        };
        assert_eq!(Validation::compile(&proto).unwrap_err().field(), "verify_certificate_hash[0]", "{hash}");
    }
    let proto = CertificateValidationContext {
        verify_certificate_spki: vec!["AAAA".to_owned()],
        ..Default::default()
    };
    assert_eq!(Validation::compile(&proto).unwrap_err().field(), "verify_certificate_spki[0]");
}
