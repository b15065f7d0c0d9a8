//! Connections that stop being HTTP: WebSocket and other upgrades, and CONNECT.

use std::rc::Rc;
use std::time::Duration;

use http::header::{CONNECTION, HeaderValue, UPGRADE};
use http::{HeaderMap, Method, Request, Response, StatusCode, Version};
use hyper::body::Incoming;
use hyper::ext::Protocol;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::time::Instant;

use super::connection::Connection;
use super::record::Record;
use crate::base::body::Body;
use crate::base::head::RequestHead;
use crate::net::copy::{Progress, both};
use crate::telemetry::Flags;
use crate::telemetry::stats::tables::HttpStats;
use crate::upstream::pool::Lease;

/// What bounds the joined connections.
pub(super) struct Tunnel {
    pub(super) conn: Rc<Connection>,
    pub(super) record: Rc<Record>,
    /// Between bytes.
    pub(super) idle: Option<Duration>,
    /// When the stream must be over.
    pub(super) max_end: Option<Instant>,
}

async fn until(end: Option<Instant>) {
    match end {
        Some(end) => tokio::time::sleep_until(end).await,
        None => std::future::pending().await,
    }
}

/// Counts a client's connection that is no longer HTTP.
struct Active(HttpStats);

impl Active {
    fn begin(stats: &HttpStats) -> Self {
        stats.downstream_cx_active().inc();
        Self(stats.clone())
    }
}

impl Drop for Active {
    fn drop(&mut self) {
        self.0.downstream_cx_active().dec();
    }
}

/// How a request asks to leave HTTP.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    /// A plain CONNECT.
    Connect,
    /// Extended CONNECT over HTTP/2 (RFC 8441).
    Extended,
    /// HTTP/1's `upgrade` header.
    Upgrade,
}

/// A request to leave HTTP.
pub(super) struct Wanted {
    /// `websocket`, …, or `CONNECT`.
    pub(super) kind: String,
    /// It came over HTTP/2 (extended CONNECT for anything but `CONNECT`).
    pub(super) over_http2: bool,
    form: Form,
    on_upgrade: OnUpgrade,
}

impl Wanted {
    /// Whether a request asks for it; takes what will become the raw connection.
    pub(super) fn of(request: &mut Request<Incoming>) -> Option<Self> {
        let over_http2 = request.version() == Version::HTTP_2;
        let extended = request.extensions().get::<Protocol>().map(|protocol| protocol.as_str().to_owned());
        let (form, kind) = if request.method() == Method::CONNECT {
            match extended {
                Some(kind) => (Form::Extended, kind),
                None => (Form::Connect, "CONNECT".to_owned()),
            }
        } else if over_http2 || !lists_upgrade(request.headers()) {
            return None;
        } else {
            (Form::Upgrade, request.headers().get(UPGRADE)?.to_str().ok()?.to_owned())
        };
        // HTTP/2 cleartext upgrades are not done; the request goes on as plain HTTP/1.1. CONNECT is a method and no protocol.
        let no_protocol = form == Form::Upgrade && kind.eq_ignore_ascii_case("connect");
        if no_protocol || kind.eq_ignore_ascii_case("h2c") {
            return None;
        }
        Some(Self { kind, over_http2, form, on_upgrade: hyper::upgrade::on(request) })
    }

    /// Whether it is a plain CONNECT.
    pub(super) fn is_connect(&self) -> bool {
        self.form == Form::Connect
    }

    /// Turns an extended CONNECT into the HTTP/1.1 request it stands for.
    pub(super) fn as_http1(&self, head: &mut RequestHead) {
        if self.form != Form::Extended {
            return;
        }
        head.method = Method::GET;
        head.headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        if let Ok(kind) = HeaderValue::from_str(&self.kind) {
            head.headers.insert(UPGRADE, kind);
        }
        if self.over_http2 && self.kind.eq_ignore_ascii_case("websocket") {
            // HTTP/2 has no such key; HTTP/1.1 servers insist on one.
            let key = websocket_key(fastrand::u128(..));
            head.headers.entry("sec-websocket-key").or_insert(key);
        }
    }

    /// Whether a response grants it.
    pub(super) fn is_granted(&self, status: StatusCode) -> bool {
        if self.is_connect() { status.is_success() } else { status == StatusCode::SWITCHING_PROTOCOLS }
    }

    /// Joins the two raw connections until one of them or the drain time ends, and makes the client's response.
    pub(super) fn join(
        self,
        response: Response<Body>,
        lease: Lease,
        tunnel: Tunnel,
        keep: impl Sized + 'static,
    ) -> Response<Body> {
        let (mut parts, _) = response.into_parts();
        if self.over_http2 {
            parts.status = StatusCode::OK;
            parts.headers.remove(UPGRADE);
            parts.headers.remove(CONNECTION);
        }
        let Tunnel { conn, record, idle, max_end } = tunnel;
        let stats = record.hcm.stats.clone();
        // HTTP/1 gives the connection away: from here on it is counted, and told to end, as the tunnel.
        let open = conn.drain.enter();
        let active = (!self.over_http2).then(|| Active::begin(&stats));
        let too_old = record.hcm.timeouts.max_connection.map(|max| conn.info.start + max);
        stats.downstream_cx_upgrades_total().inc();
        stats.downstream_cx_upgrades_active().inc();
        tokio::task::spawn_local(async move {
            let (upstream, present) = lease.into_raw().unzip();
            if let (Ok(downstream), Some(mut upstream)) = (self.on_upgrade.await, upstream) {
                let mut downstream = TokioIo::new(downstream);
                let progress = Progress::default();
                tokio::select! {
                    _ = both(&mut downstream, &mut upstream, &progress) => {}
                    () = progress.idle(idle) => {
                        record.state.borrow_mut().info.flags.set(Flags::STREAM_IDLE_TIMEOUT);
                    }
                    () = until(max_end) => {
                        record.state.borrow_mut().info.flags.set(Flags::UPSTREAM_MAX_STREAM_DURATION);
                    }
                    () = until(too_old) => stats.downstream_cx_max_duration_reached().inc(),
                    () = conn.drain.closing() => stats.downstream_cx_drain_close().inc(),
                }
                let mut state = record.state.borrow_mut();
                state.info.bytes.received += progress.received.get();
                state.info.bytes.sent += progress.sent.get();
            }
            stats.downstream_cx_upgrades_active().dec();
            record.close();
            drop((present, keep, active, open));
        });
        Response::from_parts(parts, Body::Empty)
    }
}

fn lists_upgrade(headers: &HeaderMap) -> bool {
    let values = headers.get_all(CONNECTION).iter().filter_map(|v| v.to_str().ok());
    values.flat_map(|v| v.split(',')).any(|word| word.trim().eq_ignore_ascii_case("upgrade"))
}

fn websocket_key(random: u128) -> HeaderValue {
    use base64::Engine;
    let text = base64::engine::general_purpose::STANDARD.encode(random.to_be_bytes());
    HeaderValue::from_str(&text).unwrap_or_else(|_| HeaderValue::from_static("AAAAAAAAAAAAAAAAAAAAAA=="))
}
