//! The record of one exchange, shared by the two bodies and closed exactly once.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;
use tokio::time::Instant;

use super::hcm::Hcm;
use crate::base::head::RequestHead;
use crate::telemetry::info::Protocol;
use crate::telemetry::{Flags, LogContext, RequestInfo};

/// What is known of an exchange.
pub struct Record {
    /// Its connection manager.
    pub hcm: Arc<Hcm>,
    /// The parts that change.
    pub state: RefCell<State>,
    /// When something last happened on the stream.
    active: Cell<Instant>,
    done: Cell<bool>,
}

/// The parts of a record that change.
pub struct State {
    /// For logs and metrics.
    pub info: RequestInfo,
    /// The head of the request.
    pub head: RequestHead,
    /// Headers of the response, kept for logs.
    pub response: Option<HeaderMap>,
    /// Trailers of the response.
    pub trailers: Option<HeaderMap>,
    /// An attempt was sent that the upstream may have acted on.
    pub may_have_arrived: bool,
}

impl State {
    /// What a formatter reads.
    pub fn context(&self) -> LogContext<'_> {
        LogContext {
            info: &self.info,
            request: Some(&self.head),
            response: self.response.as_ref(),
            trailers: self.trailers.as_ref(),
        }
    }
}

impl Record {
    /// Opens the record of a request.
    pub fn open(hcm: Arc<Hcm>, info: RequestInfo, head: RequestHead) -> Rc<Self> {
        hcm.stats.downstream_rq_total().inc();
        match info.protocol {
            Some(Protocol::Http2) => hcm.stats.downstream_rq_http2_total().inc(),
            _ => hcm.stats.downstream_rq_http1_total().inc(),
        }
        hcm.stats.downstream_rq_active().inc();
        let active = Cell::new(info.start);
        let state =
            RefCell::new(State { info, head, response: None, trailers: None, may_have_arrived: false });
        Rc::new(Self { hcm, state, active, done: Cell::new(false) })
    }

    /// Something happened on the stream.
    pub fn touch(&self) {
        self.active.set(Instant::now());
    }

    /// When the stream will have been idle for that long.
    pub fn idle_at(&self, timeout: Duration) -> Instant {
        self.active.get() + timeout
    }

    /// The exchange is over: counts and logs it. Only the first call counts.
    pub fn close(&self) {
        if self.done.replace(true) {
            return;
        }
        let mut state = self.state.borrow_mut();
        let now = Instant::now();
        state.info.timings.response_end.get_or_insert(now);
        self.count(&mut state);
        let context = state.context();
        for filter in &self.hcm.filters {
            filter.on_end(&context);
        }
        self.hcm.access_logs.log(&context);
    }

    /// The client went away before the exchange was over.
    pub fn abandon(&self) {
        if self.done.get() {
            return;
        }
        if let Ok(mut state) = self.state.try_borrow_mut() {
            state.info.flags.set(Flags::DOWNSTREAM_CONNECTION_TERMINATION);
            state.info.details = Some("downstream_remote_disconnect".into());
            if state.info.response_code.is_none() {
                state.info.response_code = Some(0);
            }
        }
        self.hcm.stats.downstream_rq_rx_reset().inc();
        self.close();
    }

    fn count(&self, state: &mut State) {
        let stats = &self.hcm.stats;
        stats.downstream_rq_active().dec();
        stats.downstream_rq_completed().inc();
        stats.downstream_rq_time().record_duration(state.info.duration());
        match state.info.response_code.unwrap_or(0) {
            100..200 => stats.downstream_rq_1xx().inc(),
            200..300 => stats.downstream_rq_2xx().inc(),
            300..400 => stats.downstream_rq_3xx().inc(),
            400..500 => stats.downstream_rq_4xx().inc(),
            500.. => stats.downstream_rq_5xx().inc(),
            _ => {}
        }
        let bytes = &mut state.info.bytes;
        bytes.wire_received = bytes.received + head_bytes(&state.head.headers) + state.head.path.len() as u64;
        // The response's head was counted when it was sent.
        bytes.wire_sent += bytes.sent;
    }
}

/// What headers take in HTTP/1, which is near enough for HTTP/2.
pub(super) fn head_bytes(headers: &HeaderMap) -> u64 {
    headers.iter().map(|(name, value)| (name.as_str().len() + value.len() + 4) as u64).sum()
}

/// Closes the record when the response is dropped, whoever drops it.
pub struct Closer {
    record: Rc<Record>,
    armed: bool,
}

impl Closer {
    /// A closer for a record.
    pub fn new(record: &Rc<Record>) -> Self {
        Self { record: record.clone(), armed: true }
    }

    /// The record.
    pub fn record(&self) -> &Rc<Record> {
        &self.record
    }

    /// Something else will close the record.
    pub fn disarm(mut self) {
        self.armed = false;
    }
}

impl Drop for Closer {
    fn drop(&mut self) {
        if self.armed {
            self.record.abandon();
        }
    }
}
