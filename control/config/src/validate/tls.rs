//! TLS towards upstreams and clients.

use base64::Engine as _;

use crate::istio::destination_rule::{ClientTlsMode, ClientTlsSettings};
use crate::istio::gateway::{ServerTlsMode, ServerTlsSettings, TlsProtocol};
use crate::path::Path;
use crate::tls_choice::{self, CIPHER_SUITES, CURVES};

use super::report::Report;

pub(super) fn client(settings: Option<&ClientTlsSettings>, path: &Path, report: &mut Report) {
    let Some(tls) = settings else { return };
    let files = [&tls.client_certificate, &tls.private_key, &tls.ca_certificates];
    if !tls.credential_name.is_empty() && files.iter().any(|file| !file.is_empty()) {
        let message = "`credentialName` and certificate files exclude each other";
        report.error(path, message, "keep one of them");
    }
    match tls.mode {
        ClientTlsMode::Mutual if tls.credential_name.is_empty() => {
            report.required(
                &path.key("clientCertificate"),
                &tls.client_certificate,
                "the certificate that mode MUTUAL shows",
            );
            report.required(&path.key("privateKey"), &tls.private_key, "the private key of mode MUTUAL");
        }
        ClientTlsMode::IstioMutual
            if files.iter().any(|file| !file.is_empty()) || !tls.credential_name.is_empty() =>
        {
            let message = "mode ISTIO_MUTUAL brings its own certificates";
            report.error(path, message, "remove the certificates, or use mode MUTUAL");
        }
        ClientTlsMode::Disable if *tls != ClientTlsSettings::default() => {
            report.warning(path, "mode DISABLE ignores the other fields", "set `mode`, or remove them");
        }
        ClientTlsMode::Simple
            if tls.ca_certificates.is_empty()
                && tls.credential_name.is_empty()
                && tls.insecure_skip_verify.is_none() =>
        {
            // Istio takes the system's roots here since 1.20, so this is as good as `system`.
        }
        _ => {}
    }
}

pub(super) fn server(tls: &ServerTlsSettings, path: &Path, report: &mut Report) {
    let by_name = !tls.credential_name.is_empty() || !tls.credential_names.is_empty();
    let by_file =
        !tls.server_certificate.is_empty() || !tls.private_key.is_empty() || !tls.tls_certificates.is_empty();
    match tls.mode() {
        ServerTlsMode::Simple | ServerTlsMode::Mutual | ServerTlsMode::OptionalMutual => {
            if by_name && by_file {
                report.error(
                    path,
                    "`credentialName` and certificate files exclude each other",
                    "keep one of them",
                );
            } else if !by_name && tls.tls_certificates.is_empty() {
                let cure = "set `credentialName` to a Secret of the gateway's namespace";
                if tls.server_certificate.is_empty() {
                    report.error(path, "the server has no certificate", cure);
                } else if tls.private_key.is_empty() {
                    report.error(&path.key("privateKey"), "the private key is missing", cure);
                }
            }
            let client_roots = !tls.ca_certificates.is_empty() || !tls.ca_cert_credential_name.is_empty();
            if tls.mode() == ServerTlsMode::Mutual && !by_name && !client_roots {
                report.error(
                    &path.key("caCertificates"),
                    "mode MUTUAL needs the roots of its clients",
                    "name them",
                );
            }
        }
        ServerTlsMode::IstioMutual if by_name || by_file => {
            report.error(path, "mode ISTIO_MUTUAL brings its own certificates", "remove the others");
        }
        ServerTlsMode::Passthrough | ServerTlsMode::AutoPassthrough if by_name || by_file => {
            report.error(
                path,
                "TLS is passed through, so certificates have no effect",
                "set `mode`, or remove them",
            );
        }
        _ => {}
    }
    let (low, high) = (tls.min_protocol_version, tls.max_protocol_version);
    if high != TlsProtocol::TlsAuto && low > high {
        report.error(&path.key("minProtocolVersion"), "is above `maxProtocolVersion`", "swap them");
    }
    if matches!(low, TlsProtocol::Tlsv1_0 | TlsProtocol::Tlsv1_1) {
        report.warning(&path.key("minProtocolVersion"), "TLS 1.0 and 1.1 are not secure", "write TLSV1_2");
    }
    choices(tls, path, report);
    let hashes = [
        ("verifyCertificateHash", &tls.verify_certificate_hash, is_hexadecimal as fn(&str) -> bool),
        ("verifyCertificateSpki", &tls.verify_certificate_spki, is_base64),
    ];
    for (name, written, is_hash) in hashes {
        for (position, text) in written.iter().enumerate().filter(|(_, text)| !is_hash(text)) {
            let message = format!("{text:?} is no SHA-256");
            let cure = "write 64 hexadecimal digits for a certificate, the 44 characters of base64 for a key";
            report.error(&path.key(name).index(position), &message, cure);
        }
    }
}

/// Names that proxies do not have are left out of what they get.
fn choices(tls: &ServerTlsSettings, path: &Path, report: &mut Report) {
    let lists = [
        ("cipherSuites", &tls.cipher_suites, &CIPHER_SUITES[..]),
        ("ecdhCurves", &tls.ecdh_curves, &CURVES[..]),
    ];
    for (field, written, known) in lists {
        let unknown: Vec<&str> = tls_choice::unknown(written, known).collect();
        if unknown.is_empty() {
            continue;
        }
        let left = tls_choice::usable(written, known);
        let effect = if left.is_empty() { "the server chooses from all that it has" } else { "left out" };
        let message = format!("proxies do not have {}: {effect}", unknown.join(", "));
        report.warning(&path.key(field), message, format!("name some of {}", known.join(", ")));
    }
}

/// Digits of a SHA-256, in pairs with colons between them or without any.
fn is_hexadecimal(text: &str) -> bool {
    let separated = text.len() == 95 && text.bytes().skip(2).step_by(3).all(|byte| byte == b':');
    let digits = if separated { text.replace(':', "") } else { text.to_owned() };
    digits.len() == 64 && digits.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn is_base64(text: &str) -> bool {
    base64::engine::general_purpose::STANDARD.decode(text).is_ok_and(|hash| hash.len() == 32)
}
