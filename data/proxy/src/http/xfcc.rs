//! `x-forwarded-client-cert`: who the client proved to be, told to the upstream.

use http::header::{HeaderMap, HeaderName};
use base64::Engine;
use http::HeaderValue;
use meltemi_proto::envoy::extensions::filters::network::http_connection_manager::v3::HttpConnectionManager as Proto;
use meltemi_proto::envoy::extensions::filters::network::http_connection_manager::v3::http_connection_manager::ForwardClientCertDetails as Mode;

use crate::base::duration::bool_or;
use crate::telemetry::TlsInfo;

const XFCC: HeaderName = HeaderName::from_static("x-forwarded-client-cert");

/// What happens to the header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ForwardClientCert {
    mode: Mode,
    cert: bool,
    subject: bool,
    uri: bool,
    dns: bool,
}

impl ForwardClientCert {
    /// Compiles the two fields of the connection manager.
    pub fn compile(proto: &Proto) -> Self {
        let set = proto.set_current_client_cert_details.as_ref();
        Self {
            mode: proto.forward_client_cert_details(),
            cert: set.is_some_and(|s| s.cert),
            subject: set.is_some_and(|s| bool_or(&s.subject, false)),
            uri: set.is_some_and(|s| s.uri),
            dns: set.is_some_and(|s| s.dns),
        }
    }

    /// Changes the header as configured.
    pub fn apply(self, headers: &mut HeaderMap, tls: Option<&TlsInfo>) {
        let peer = tls.filter(|tls| tls.peer.is_some());
        match (self.mode, peer) {
            (Mode::AlwaysForwardOnly, _) | (Mode::ForwardOnly, Some(_)) => {}
            (Mode::Sanitize, _) | (_, None) => {
                headers.remove(XFCC);
            }
            (Mode::SanitizeSet, Some(tls)) => {
                // Also when our own element makes no header: what the client says of itself must not stand in for it.
                headers.remove(XFCC);
                if let Ok(value) = HeaderValue::from_str(&self.element(tls)) {
                    headers.insert(XFCC, value);
                }
            }
            (Mode::AppendForward, Some(tls)) => {
                let element = self.element(tls);
                let all = match crate::base::head::joined(headers, &XFCC) {
                    Some(before) => format!("{before},{element}"),
                    None => element,
                };
                headers.remove(XFCC);
                if let Ok(value) = HeaderValue::from_str(&all) {
                    headers.insert(XFCC, value);
                }
            }
        }
    }

    fn element(self, tls: &TlsInfo) -> String {
        let mut parts = Vec::new();
        if let Some(by) = tls.local_principal() {
            parts.push(format!("By={by}"));
        }
        if let Some(peer) = &tls.peer {
            parts.push(format!("Hash={}", peer.sha256));
            if self.cert {
                parts.push(format!("Cert=\"{}\"", escaped_pem(&peer.der)));
            }
            if self.subject {
                parts.push(format!("Subject=\"{}\"", peer.subject.replace('"', "\\\"")));
            }
            if self.uri {
                let first = peer.uri_sans.first().map_or("", AsRef::as_ref);
                parts.push(format!("URI={first}"));
            }
            if self.dns {
                parts.extend(peer.dns_sans.iter().map(|dns| format!("DNS={dns}")));
            }
        }
        parts.join(";")
    }
}

/// A certificate as PEM, with the characters escaped that have a meaning in URLs.
fn escaped_pem(der: &[u8]) -> String {
    const COLUMNS: usize = 64;
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    let mut pem = String::with_capacity(text.len() * 5 / 4 + 80);
    pem.push_str("-----BEGIN%20CERTIFICATE-----%0A");
    for (at, letter) in text.chars().enumerate() {
        if at > 0 && at % COLUMNS == 0 {
            pem.push_str("%0A");
        }
        match letter {
            '+' => pem.push_str("%2B"),
            '/' => pem.push_str("%2F"),
            '=' => pem.push_str("%3D"),
            plain => pem.push(plain),
        }
    }
    pem.push_str("%0A-----END%20CERTIFICATE-----%0A");
    pem
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::info::CertificateInfo;
    use std::sync::Arc;

    fn mtls() -> TlsInfo {
        let cert = |uri: &str| {
            Arc::new(CertificateInfo {
                sha256: "ab".into(),
                uri_sans: vec![uri.into()],
                ..CertificateInfo::default()
            })
        };
        TlsInfo {
            peer: Some(cert("spiffe://td/client")),
            local: Some(cert("spiffe://td/server")),
            ..TlsInfo::default()
        }
    }

    #[test]
    fn a_header_of_the_client_never_stands_in_for_ours() {
        let peer = CertificateInfo { subject: "CN=a\nb".into(), ..CertificateInfo::default() };
        let tls = TlsInfo { peer: Some(Arc::new(peer)), ..TlsInfo::default() };
        for mode in [Mode::SanitizeSet, Mode::AppendForward] {
            let mut headers = HeaderMap::from_iter([(XFCC, HeaderValue::from_static("forged"))]);
            ForwardClientCert { mode, cert: false, subject: true, uri: false, dns: false }
                .apply(&mut headers, Some(&tls));
            assert_eq!(headers.get(XFCC), None, "{mode:?}");
        }
    }

    #[test]
    fn certificates_are_told_as_escaped_pem() {
        let begin = "-----BEGIN%20CERTIFICATE-----%0A";
        let end = "%0A-----END%20CERTIFICATE-----%0A";
        assert_eq!(escaped_pem(&[0xff, 0xef, 0xbe, 0xfb]), format!("{begin}%2F%2B%2B%2B%2Bw%3D%3D{end}"));
        let two_lines = escaped_pem(&[0; 60]);
        assert_eq!(two_lines, format!("{begin}{}%0A{}{end}", "A".repeat(64), "A".repeat(16)));
    }

    #[test]
    fn the_header_follows_the_mode() {
        let ours = "By=spiffe://td/server;Hash=ab;Subject=\"\";URI=spiffe://td/client";
        for (mode, tls, expected) in [
            (Mode::Sanitize, true, None),
            (Mode::SanitizeSet, true, Some(ours.to_owned())),
            (Mode::SanitizeSet, false, None),
            (Mode::AppendForward, true, Some(format!("old,{ours}"))),
            (Mode::ForwardOnly, true, Some("old".to_owned())),
            (Mode::ForwardOnly, false, None),
            (Mode::AlwaysForwardOnly, false, Some("old".to_owned())),
        ] {
            let mut headers = HeaderMap::from_iter([(XFCC, HeaderValue::from_static("old"))]);
            let tls = tls.then(mtls);
            ForwardClientCert { mode, cert: false, subject: true, uri: true, dns: false }
                .apply(&mut headers, tls.as_ref());
            let value = headers.get(XFCC).map(|v| v.to_str().unwrap().to_owned());
            assert_eq!(value, expected, "{mode:?}");
        }
    }
}
