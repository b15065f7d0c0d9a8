//! What happens to a request's head before it is routed: it is checked, cleaned of what only we may say, and completed.

use std::fmt::Write;
use std::net::{IpAddr, SocketAddr};

use http::header::{
    CONNECTION, EXPECT, HOST, HeaderMap, HeaderName, HeaderValue, TE, TRANSFER_ENCODING, UPGRADE,
};
use http::request::Parts;
use http::{Method, Version};

use super::hcm::{Hcm, StripPort, Trust, Underscores};
use super::path::Normalized;
use crate::base::address::Address;
use crate::base::head::{RequestHead, holds_envoy, joined};
use crate::failure::{BadRequest, Failure};
use crate::matcher::cidr::canonical;
use crate::route::table::without_port;
use crate::telemetry::ConnectionInfo;

pub(super) const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
pub(super) const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const EXTERNAL_ADDRESS: HeaderName = HeaderName::from_static("x-envoy-external-address");
const INTERNAL: HeaderName = HeaderName::from_static("x-envoy-internal");
const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");

/// Headers that steer us and that strangers must not send.
static STEERING: [HeaderName; 12] = [
    HeaderName::from_static("x-envoy-retry-on"),
    HeaderName::from_static("x-envoy-retry-grpc-on"),
    HeaderName::from_static("x-envoy-max-retries"),
    HeaderName::from_static("x-envoy-retriable-status-codes"),
    HeaderName::from_static("x-envoy-retriable-header-names"),
    HeaderName::from_static("x-envoy-upstream-rq-timeout-ms"),
    HeaderName::from_static("x-envoy-upstream-rq-per-try-timeout-ms"),
    HeaderName::from_static("x-envoy-upstream-alt-stat-name"),
    HeaderName::from_static("x-envoy-expected-rq-timeout-ms"),
    HeaderName::from_static("x-envoy-original-path"),
    HeaderName::from_static("x-envoy-decorator-operation"),
    HeaderName::from_static("x-envoy-hedge-on-per-try-timeout"),
];

/// The head of a request as Envoy's pseudo-headers have it.
pub(super) fn head(parts: &mut Parts, tls: bool) -> RequestHead {
    let mut headers = std::mem::take(&mut parts.headers);
    let from_uri = parts.uri.authority().map(|a| a.as_str().to_owned());
    // Of two hosts neither is believed.
    let one = headers.get_all(HOST).iter().nth(1).is_none();
    let host = headers.remove(HOST).and_then(|h| h.to_str().ok().map(str::to_owned));
    let host = from_uri.or(host).filter(|_| one);
    let path = match parts.uri.path_and_query() {
        Some(path) if parts.method != Method::CONNECT || parts.uri.scheme().is_some() => {
            path.as_str().to_owned()
        }
        _ => String::new(),
    };
    RequestHead {
        method: parts.method.clone(),
        scheme: if tls { "https" } else { "http" },
        authority: host.unwrap_or_default(),
        path,
        version: parts.version,
        headers,
    }
}

/// What the client should do instead of going on.
pub(super) enum Admitted {
    /// Go on.
    Yes,
    /// Ask for this path.
    Redirect(String),
}

/// Checks and completes a head. `wants_upgrade` keeps the headers of a protocol upgrade.
pub(super) fn admit(
    hcm: &Hcm,
    connection: &ConnectionInfo,
    (head, client): (&mut RequestHead, &mut Option<Address>),
    wants_upgrade: bool,
) -> Result<Admitted, Failure> {
    if head.version <= Version::HTTP_10 {
        let Some(default) = &hcm.http10_host else {
            return Err(Failure::BadRequest(BadRequest::OldVersion));
        };
        if head.authority.is_empty() {
            head.authority.clone_from(default);
        }
    }
    if head.authority.is_empty() {
        return Err(Failure::BadRequest(BadRequest::MissingHost));
    }
    transfer_encoding(&head.headers)?;
    underscores(hcm.underscores, &mut head.headers)?;
    authority(hcm, connection, head);
    hop_by_hop(&mut head.headers, wants_upgrade);
    head.headers.remove(EXPECT);
    let address = trusted_address(&hcm.trust, connection, head);
    if address != connection.remote.ip().map(|a| a.ip()) {
        // Nobody tells its port.
        *client = address.map(|ip| Address::Ip(SocketAddr::new(ip, 0)));
    }
    forwarded(&hcm.trust, connection, head);
    let internal = is_internal(&hcm.trust, connection, head);
    steering(hcm, head, internal, address);
    request_id(hcm, head, internal);
    hcm.client_cert.apply(&mut head.headers, connection.tls.as_deref());
    if let Some(via) = &hcm.via {
        head.headers.append(http::header::VIA, via.clone());
    }
    match hcm.path.apply(&head.path) {
        Normalized::Same => Ok(Admitted::Yes),
        Normalized::Changed(path) => {
            head.path = path;
            Ok(Admitted::Yes)
        }
        Normalized::Redirect(path) => Ok(Admitted::Redirect(path)),
        Normalized::Refused => {
            hcm.stats.downstream_rq_failed_path_normalization().inc();
            Err(Failure::BadRequest(BadRequest::Path))
        }
    }
}

/// The body goes on in chunks of our own: any other coding would lose its label.
fn transfer_encoding(headers: &HeaderMap) -> Result<(), Failure> {
    let chunked = |value: &HeaderValue| value.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked");
    let values = headers.get_all(TRANSFER_ENCODING);
    if values.iter().all(chunked) { Ok(()) } else { Err(Failure::BadRequest(BadRequest::TransferEncoding)) }
}

fn underscores(action: Underscores, headers: &mut HeaderMap) -> Result<(), Failure> {
    if action == Underscores::Allow {
        return Ok(());
    }
    let found: Vec<HeaderName> = headers.keys().filter(|name| name.as_str().contains('_')).cloned().collect();
    if !found.is_empty() && action == Underscores::Reject {
        return Err(Failure::BadRequest(BadRequest::Underscore));
    }
    for name in found {
        headers.remove(name);
    }
    Ok(())
}

fn authority(hcm: &Hcm, connection: &ConnectionInfo, head: &mut RequestHead) {
    let bare = without_port(&head.authority);
    let port = head.authority.get(bare.len() + 1..).and_then(|p| p.parse::<u16>().ok());
    let strip = match hcm.strip_port {
        StripPort::No => false,
        StripPort::Any => true,
        StripPort::Matching => port.is_some() && port == connection.local.ip().map(|a| a.port()),
    };
    if strip {
        head.authority.truncate(bare.len());
    }
    if hcm.strip_trailing_dot && head.authority.ends_with('.') {
        head.authority.pop();
    }
}

/// Removes what concerns this connection only.
pub(super) fn hop_by_hop(headers: &mut HeaderMap, keep_upgrade: bool) {
    if !keep_upgrade && !headers.keys().any(concerns_connection) {
        return;
    }
    if let Some(listed) = joined(headers, &CONNECTION).map(std::borrow::Cow::into_owned) {
        for name in listed.split(',').map(str::trim) {
            if keep_upgrade && name.eq_ignore_ascii_case("upgrade") {
                continue;
            }
            if let Ok(name) = HeaderName::from_bytes(name.as_bytes()) {
                headers.remove(name);
            }
        }
    }
    for name in [KEEP_ALIVE, PROXY_CONNECTION, TRANSFER_ENCODING, CONNECTION] {
        headers.remove(name);
    }
    if keep_upgrade {
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    } else {
        headers.remove(UPGRADE);
    }
    if headers.get(TE).is_some_and(|te| te.as_bytes() != b"trailers") {
        headers.remove(TE);
    }
}

/// Most messages have none of these: one look at the names is cheaper than a search for each.
fn concerns_connection(name: &HeaderName) -> bool {
    let name = name.as_str();
    matches!(name, "connection" | "keep-alive" | "proxy-connection" | "transfer-encoding" | "upgrade" | "te")
}

/// The client's address, as far as we trust what we are told.
fn trusted_address(trust: &Trust, connection: &ConnectionInfo, head: &RequestHead) -> Option<IpAddr> {
    let own = connection.remote.ip().map(|a| a.ip());
    let skip = match (trust.use_remote_address, trust.hops) {
        (true, 0) => return own,
        (true, hops) => hops as usize - 1,
        (false, hops) => hops as usize,
    };
    let value = joined(&head.headers, &FORWARDED_FOR)?;
    value.rsplit(',').nth(skip).and_then(|entry| entry.trim().parse().ok()).or(own)
}

fn forwarded(trust: &Trust, connection: &ConnectionInfo, head: &mut RequestHead) {
    let remote = connection.remote.ip().map(|a| canonical(a.ip()));
    if trust.use_remote_address
        && !trust.skip_append
        && let Some(remote) = remote
    {
        let all = match joined(&head.headers, &FORWARDED_FOR) {
            Some(before) => format!("{before},{remote}"),
            None => remote.to_string(),
        };
        insert(&mut head.headers, FORWARDED_FOR, &all);
    }
    let ours = if connection.tls.is_some() { "https" } else { "http" };
    let keep = !trust.use_remote_address || trust.hops > 0;
    match head.text(&FORWARDED_PROTO) {
        Some("https") if keep => head.scheme = "https",
        Some("http") if keep => head.scheme = "http",
        _ => {
            head.headers.insert(FORWARDED_PROTO, HeaderValue::from_static(ours));
            head.scheme = ours;
        }
    }
}

/// Whether the request comes from inside: one hop, from an address that is configured to be inside.
fn is_internal(trust: &Trust, connection: &ConnectionInfo, head: &RequestHead) -> bool {
    let Some(value) = joined(&head.headers, &FORWARDED_FOR) else { return false };
    let mut entries = value.split(',');
    let only = entries.next().and_then(|entry| entry.trim().parse::<IpAddr>().ok());
    let single = entries.next().is_none();
    let address = if trust.use_remote_address { connection.remote.ip().map(|a| a.ip()) } else { only };
    single && address.is_some_and(|ip| trust.internal.iter().any(|net| net.contains(&canonical(ip))))
}

fn steering(hcm: &Hcm, head: &mut RequestHead, internal: bool, address: Option<IpAddr>) {
    if internal {
        head.headers.insert(INTERNAL, HeaderValue::from_static("true"));
        return;
    }
    head.headers.remove(INTERNAL);
    // Inside the mesh (no edge) a request without x-forwarded-for is neither internal nor from outside; Envoy cleans it alike.
    if holds_envoy(&head.headers, &STEERING) {
        for name in &STEERING {
            head.headers.remove(name);
        }
    }
    if hcm.trust.use_remote_address
        && let Some(address) = address
    {
        insert(&mut head.headers, EXTERNAL_ADDRESS, &address.to_string());
    }
}

fn request_id(hcm: &Hcm, head: &mut RequestHead, internal: bool) {
    let edge = hcm.trust.use_remote_address && !internal;
    if edge && !hcm.request_id.preserve_external {
        head.headers.remove(REQUEST_ID);
    }
    if hcm.request_id.generate && !head.headers.contains_key(REQUEST_ID) {
        insert(&mut head.headers, REQUEST_ID, &uuid(fastrand::u128(..)));
    }
}

/// A random UUID (version 4): unique, not secret.
fn uuid(random: u128) -> String {
    let bits = (random & !(0xf << 76) & !(0x3 << 62)) | (0x4 << 76) | (0x2 << 62);
    let mut text = String::with_capacity(36);
    let _ = write!(
        text,
        "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
        (bits >> 96) as u32,
        (bits >> 80) as u16,
        (bits >> 64) as u16,
        (bits >> 48) as u16,
        bits & 0xffff_ffff_ffff
    );
    text
}

fn insert(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

#[cfg(test)]
mod tests;
