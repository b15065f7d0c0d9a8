//! TLS towards upstreams and clients.

use crate::istio::destination_rule::{ClientTlsMode, ClientTlsSettings};
use crate::istio::gateway::{ServerTlsMode, ServerTlsSettings, TlsProtocol};
use crate::path::Path;

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
    let lists = [("verifyCertificateHash", &tls.verify_certificate_hash)];
    for (name, hashes) in lists {
        for (position, hash) in hashes.iter().enumerate() {
            let digits = hash.chars().filter(|c| *c != ':');
            if digits.clone().count() != 64 || !digits.clone().all(|c| c.is_ascii_hexdigit()) {
                report.error(&path.key(name).index(position), "is no SHA-256 in hexadecimal", "");
            }
        }
    }
}
