//! `/certs`.

use std::time::{SystemTime, UNIX_EPOCH};

use meltemi_proto::envoy::admin::v3 as proto;
use meltemi_proto::google::protobuf::Timestamp;
use meltemi_proto::json::{Style, to_json_as};
use proto::subject_alternate_name::Name;

use super::listeners::failed;
use super::{Admin, Answer};
use crate::telemetry::info::CertificateInfo;

pub(super) fn answer(admin: &Admin) -> Answer {
    let all = proto::Certificates { certificates: admin.certificates.certificates() };
    to_json_as(&all, Style { proto_names: true }).map_or_else(failed, |mut value| {
        if all.certificates.is_empty() {
            // Other than proto-JSON by itself, Envoy shows the empty list.
            value["certificates"] = serde_json::json!([]);
        }
        Answer::json(&value)
    })
}

/// A certificate as `/certs` shows it; `path` says where it came from, e.g. `<inline>`.
pub fn certificate_details(
    path: &str,
    certificate: &CertificateInfo,
    now: SystemTime,
) -> proto::CertificateDetails {
    let uris = certificate.uri_sans.iter().map(|uri| Name::Uri(uri.to_string()));
    let dns = certificate.dns_sans.iter().map(|dns| Name::Dns(dns.to_string()));
    let left = certificate.validity.and_then(|(_, end)| end.duration_since(now).ok()).unwrap_or_default();
    proto::CertificateDetails {
        path: path.to_owned(),
        serial_number: certificate.serial.to_string(),
        subject_alt_names: uris
            .chain(dns)
            .map(|name| proto::SubjectAlternateName { name: Some(name) })
            .collect(),
        days_until_expiration: left.as_secs() / 86_400,
        valid_from: certificate.validity.map(|(start, _)| timestamp(start)),
        expiration_time: certificate.validity.map(|(_, end)| timestamp(end)),
        ocsp_details: None,
    }
}

/// A moment as proto.
pub(super) fn timestamp(moment: SystemTime) -> Timestamp {
    let since = moment.duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp {
        seconds: i64::try_from(since.as_secs()).unwrap_or(i64::MAX),
        nanos: i32::try_from(since.subsec_millis()).unwrap_or_default() * 1_000_000,
    }
}
