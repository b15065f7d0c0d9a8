//! Versions, cipher suites and curves (`TlsParameters`), for either side.

use std::sync::Arc;

use meltemi_proto::envoy::extensions::transport_sockets::tls::v3::TlsParameters as Proto;
use meltemi_proto::envoy::extensions::transport_sockets::tls::v3::tls_parameters::TlsProtocol;
use rustls::crypto::CryptoProvider;
use rustls::{CipherSuite, NamedGroup, SupportedProtocolVersion};

use super::provider;
use crate::base::reject::{Compiled, Reject, unsupported};

/// The suites of TLS 1.2 we have, by the names that OpenSSL and Envoy give them. Those of TLS 1.3 cannot be chosen.
const SUITES: [(&str, CipherSuite); 6] = [
    ("ECDHE-ECDSA-AES128-GCM-SHA256", CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256),
    ("ECDHE-ECDSA-AES256-GCM-SHA384", CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384),
    ("ECDHE-ECDSA-CHACHA20-POLY1305", CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256),
    ("ECDHE-RSA-AES128-GCM-SHA256", CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256),
    ("ECDHE-RSA-AES256-GCM-SHA384", CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384),
    ("ECDHE-RSA-CHACHA20-POLY1305", CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256),
];

const CURVES: [(&str, NamedGroup); 5] = [
    ("X25519", NamedGroup::X25519),
    ("P-256", NamedGroup::secp256r1),
    ("P-384", NamedGroup::secp384r1),
    ("P-521", NamedGroup::secp521r1),
    ("X25519MLKEM768", NamedGroup::X25519MLKEM768),
];

/// What a handshake may use.
#[derive(Debug)]
pub(super) struct Parameters {
    pub(super) versions: Vec<&'static SupportedProtocolVersion>,
    pub(super) provider: Arc<CryptoProvider>,
}

impl Parameters {
    pub(super) fn compile(proto: Option<&Proto>) -> Compiled<Self> {
        let default = Proto::default();
        let proto = proto.unwrap_or(&default);
        unsupported(&[
            (!proto.signature_algorithms.is_empty(), "signature_algorithms"),
            (!proto.compliance_policies.is_empty(), "compliance_policies"),
        ])?;
        let versions = versions(proto)?;
        let speaks_12 = versions.contains(&&rustls::version::TLS12);
        if (proto.cipher_suites.is_empty() || !speaks_12) && proto.ecdh_curves.is_empty() {
            return Ok(Self { versions, provider: provider().clone() });
        }
        let mut chosen = provider().as_ref().clone();
        if !proto.cipher_suites.is_empty() && speaks_12 {
            // `[A|B]` are equal in preference; the order among them is ours.
            let names = proto.cipher_suites.iter().flat_map(|name| name.trim_matches(['[', ']']).split('|'));
            let wanted = known("cipher_suites", names, &SUITES)?;
            chosen.cipher_suites.retain(|s| s.tls13().is_some() || wanted.contains(&s.suite()));
        }
        if !proto.ecdh_curves.is_empty() {
            let wanted = known("ecdh_curves", proto.ecdh_curves.iter().map(String::as_str), &CURVES)?;
            chosen.kx_groups.retain(|group| wanted.contains(&group.name()));
            if chosen.kx_groups.is_empty() {
                return Err(Reject::new("ecdh_curves", "none of these is supported"));
            }
        }
        Ok(Self { versions, provider: Arc::new(chosen) })
    }
}

/// Those of the names that we have. The others are not offered, which is less than was asked for and never more.
fn known<'a, T: Copy>(
    field: &str,
    names: impl Iterator<Item = &'a str>,
    table: &[(&str, T)],
) -> Compiled<Vec<T>> {
    let found: Vec<T> = names
        .filter_map(|name| table.iter().find(|(known, _)| *known == name))
        .map(|(_, value)| *value)
        .collect();
    if found.is_empty() {
        let all: Vec<&str> = table.iter().map(|(name, _)| *name).collect();
        return Err(Reject::new(field, format!("none of these is supported; there are {}", all.join(", "))));
    }
    Ok(found)
}

fn versions(proto: &Proto) -> Compiled<Vec<&'static SupportedProtocolVersion>> {
    let (min, max) = (proto.tls_minimum_protocol_version(), proto.tls_maximum_protocol_version());
    let mut versions: Vec<&'static SupportedProtocolVersion> = Vec::new();
    if max == TlsProtocol::TlsAuto || max == TlsProtocol::TlSv13 {
        versions.push(&rustls::version::TLS13);
    }
    if min != TlsProtocol::TlSv13
        && matches!(max, TlsProtocol::TlsAuto | TlsProtocol::TlSv12 | TlsProtocol::TlSv13)
    {
        versions.push(&rustls::version::TLS12);
    }
    if versions.is_empty() {
        return Err(Reject::new("", "leaves no version: TLS 1.2 and 1.3 are supported"));
    }
    Ok(versions)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn suites(names: &[&str]) -> Compiled<Vec<CipherSuite>> {
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        let parameters = Parameters::compile(Some(&Proto { cipher_suites: names, ..Proto::default() }))?;
        let chosen = parameters.provider.cipher_suites.iter().filter(|suite| suite.tls13().is_none());
        Ok(chosen.map(|suite| suite.suite()).collect())
    }

    #[test]
    fn only_the_suites_asked_for_are_offered() {
        assert_eq!(suites(&[]).unwrap().len(), SUITES.len());
        let one = vec![CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384];
        assert_eq!(suites(&["ECDHE-RSA-AES256-GCM-SHA384", "AES128-SHA"]), Ok(one));
        assert_eq!(suites(&["[ECDHE-RSA-AES128-GCM-SHA256|ECDHE-RSA-CHACHA20-POLY1305]"]).unwrap().len(), 2);
        assert_eq!(suites(&["AES128-SHA"]).unwrap_err().field(), "cipher_suites");
    }

    #[test]
    fn only_the_curves_asked_for_are_offered() {
        let compile = |curve: &str| {
            let ecdh_curves = vec![curve.to_owned()];
            Parameters::compile(Some(&Proto { ecdh_curves, ..Proto::default() }))
        };
        let groups = compile("P-256").unwrap().provider.kx_groups.clone();
        assert_eq!(groups.iter().map(|group| group.name()).collect::<Vec<_>>(), [NamedGroup::secp256r1]);
        assert_eq!(compile("B-571").unwrap_err().field(), "ecdh_curves");
    }
}
