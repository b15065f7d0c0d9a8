//! What log lines tell of TLS handshakes: the same set of operators for either side.

use std::time::SystemTime;

use super::time::TimeFormat;
use crate::base::reject::Compiled;
use crate::telemetry::info::{CertificateInfo, TlsInfo};

/// One fact of a handshake.
#[derive(Clone, Debug)]
pub(super) enum TlsField {
    Version,
    Cipher,
    Certificate { peer: bool, part: Part },
}

/// A part of a certificate.
#[derive(Clone, Debug)]
pub(super) enum Part {
    Subject,
    Issuer,
    UriSan,
    DnsSan,
    Serial,
    Fingerprint,
    Start(TimeFormat),
    End(TimeFormat),
}

impl TlsField {
    /// The operator's name without `DOWNSTREAM_` or `UPSTREAM_`; `None` when it is not about TLS.
    pub(super) fn compile(name: &str, arguments: Option<&str>) -> Option<Compiled<Self>> {
        let (peer, rest) = match (name.strip_prefix("PEER_"), name.strip_prefix("LOCAL_")) {
            (Some(rest), _) => (true, rest),
            (_, Some(rest)) => (false, rest),
            _ => {
                return match name {
                    "TLS_VERSION" => Some(Ok(TlsField::Version)),
                    "TLS_CIPHER" => Some(Ok(TlsField::Cipher)),
                    _ => None,
                };
            }
        };
        let part = match (rest, peer) {
            ("SUBJECT", _) => Part::Subject,
            ("URI_SAN", _) => Part::UriSan,
            ("DNS_SAN", _) => Part::DnsSan,
            ("ISSUER", true) => Part::Issuer,
            ("SERIAL", true) => Part::Serial,
            ("FINGERPRINT_256", true) => Part::Fingerprint,
            ("CERT_V_START" | "CERT_V_END", true) => {
                let format = match TimeFormat::compile(arguments) {
                    Ok(format) => format,
                    Err(reject) => return Some(Err(reject)),
                };
                if rest == "CERT_V_START" { Part::Start(format) } else { Part::End(format) }
            }
            _ => return None,
        };
        Some(Ok(TlsField::Certificate { peer, part }))
    }

    /// Writes the fact; `false` when there is none.
    pub(super) fn write(&self, out: &mut Vec<u8>, tls: Option<&TlsInfo>) -> bool {
        let Some(tls) = tls else { return false };
        match self {
            TlsField::Version => text(out, tls.version),
            TlsField::Cipher => text(out, tls.cipher),
            TlsField::Certificate { peer, part } => {
                let certificate = if *peer { &tls.peer } else { &tls.local };
                certificate.as_ref().is_some_and(|certificate| part.write(out, certificate))
            }
        }
    }
}

impl Part {
    fn write(&self, out: &mut Vec<u8>, certificate: &CertificateInfo) -> bool {
        match self {
            Part::Subject => text(out, &certificate.subject),
            Part::Issuer => text(out, &certificate.issuer),
            Part::Serial => text(out, &certificate.serial),
            Part::Fingerprint => text(out, &certificate.sha256),
            Part::UriSan => list(out, &certificate.uri_sans),
            Part::DnsSan => list(out, &certificate.dns_sans),
            Part::Start(format) => moment(out, format, certificate.validity.map(|v| v.0)),
            Part::End(format) => moment(out, format, certificate.validity.map(|v| v.1)),
        }
    }
}

fn text(out: &mut Vec<u8>, value: &str) -> bool {
    out.extend_from_slice(value.as_bytes());
    !value.is_empty()
}

fn list(out: &mut Vec<u8>, values: &[std::sync::Arc<str>]) -> bool {
    for (index, value) in values.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        out.extend_from_slice(value.as_bytes());
    }
    !values.is_empty()
}

fn moment(out: &mut Vec<u8>, format: &TimeFormat, value: Option<SystemTime>) -> bool {
    value.inspect(|value| format.write(out, *value)).is_some()
}
