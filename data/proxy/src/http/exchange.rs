//! The life of one request, from its head to the last byte of its response.
//!
//! ```text
//! begin → admit → route → filters → (redirect | answer | forward → attempts) → filters → send
//!              any step may fail → failure.rs → local reply ────────────────────────────┘
//! ```

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http::header::SERVER;
use http::{HeaderValue, Request, Response, StatusCode};
use hyper::body::Incoming;
use tokio::time::Instant;

use super::admit::{self, Admitted};
use super::connection::{Busy, Connection};
use super::download::{Download, Tail};
use super::hcm::ServerHeader;
use super::record::{Closer, Record, head_bytes};
use super::reply;
use super::upgrade::Wanted;
use super::upload::Upload;
use crate::base::body::Body;
use crate::failure::Failure;
use crate::filters::{Cx, Notes, Verdict};
use crate::route::Route;
use crate::route::action::Action;
use crate::route::headers;
use crate::route::matching::is_grpc;
use crate::route::retry::Broken;
use crate::route::table::Decision;
use crate::telemetry::RequestInfo;
use crate::telemetry::info::unique_number;

/// One request and what is known of it so far.
pub(super) struct Exchange {
    pub(super) conn: Rc<Connection>,
    pub(super) record: Rc<Record>,
    pub(super) upload: Rc<Upload>,
    pub(super) notes: Notes,
    pub(super) upgrade: Option<Wanted>,
    /// The connection was given away: what ends it ends the record.
    pub(super) joined: bool,
    /// Between events of the stream.
    pub(super) idle: Option<Duration>,
    route: Option<Arc<Route>>,
    closer: Closer,
    busy: Busy,
}

/// A response and what it holds until its end.
type Answered = (Response<Body>, Option<Tail>);

/// Answers one request.
pub(super) async fn run(conn: &Rc<Connection>, request: Request<Incoming>) -> Response<Body> {
    let mut exchange = Exchange::begin(conn, request);
    let answered = match exchange.respond().await {
        Ok(answered) => answered,
        Err(failure) => (exchange.local_reply(&failure), None),
    };
    exchange.send(answered)
}

impl Exchange {
    fn begin(conn: &Rc<Connection>, mut request: Request<Incoming>) -> Self {
        let busy = conn.begin();
        let upgrade = Wanted::of(&mut request);
        let (mut parts, body) = request.into_parts();
        let head = admit::head(&mut parts, conn.info.tls.is_some());
        let mut info = RequestInfo::new(conn.info.clone(), Some(head.version.into()));
        info.stream_id = unique_number();
        info.grpc = is_grpc(&head);
        let grpc = info.grpc;
        let record = Record::open(conn.hcm.clone(), info, head);
        let upload = Upload::new(body, &record, conn.hcm.limits.buffer, grpc);
        Self {
            conn: conn.clone(),
            closer: Closer::new(&record),
            idle: conn.hcm.timeouts.stream_idle,
            record,
            upload,
            notes: Notes::default(),
            upgrade,
            joined: false,
            route: None,
            busy,
        }
    }

    async fn respond(&mut self) -> Result<Answered, Failure> {
        if let Some(redirected) = self.admit()? {
            return Ok((redirected, None));
        }
        if let Some(redirected) = self.find_route() {
            return Ok((redirected, None));
        }
        if let Some(replied) = self.filter().await? {
            return Ok((replied, None));
        }
        let Some(route) = self.route.clone() else {
            self.conn.hcm.stats.no_route().inc();
            return Err(Failure::RouteNotFound);
        };
        match &route.action {
            Action::Forward(forward) => {
                self.allow_upgrade(forward)?;
                self.forward(&route, forward).await
            }
            Action::Redirect(redirect) => {
                self.conn.hcm.stats.rq_redirect().inc();
                let location = redirect.location(&self.record.state.borrow().head, route.matching.path());
                let response = reply::redirect(redirect.status, &location);
                Ok((self.locally(&route, response), None))
            }
            Action::Direct(direct) => {
                self.conn.hcm.stats.rq_direct_response().inc();
                let grpc = self.record.state.borrow().info.grpc;
                Ok((self.locally(&route, reply::direct(direct, grpc)), None))
            }
        }
    }

    fn admit(&mut self) -> Result<Option<Response<Body>>, Failure> {
        let state = &mut *self.record.state.borrow_mut();
        if let Some(wanted) = &self.upgrade {
            wanted.as_http1(&mut state.head);
        }
        let told = (&mut state.head, &mut state.info.client);
        match admit::admit(&self.conn.hcm, &self.conn.info, told, self.upgrade.is_some())? {
            Admitted::Yes => Ok(None),
            Admitted::Redirect(path) => {
                state.info.details = Some("path_normalization_redirect".into());
                let location = format!("{}://{}{path}", state.head.scheme, state.head.authority);
                Ok(Some(reply::redirect(StatusCode::TEMPORARY_REDIRECT, &location)))
            }
        }
    }

    fn find_route(&mut self) -> Option<Response<Body>> {
        let table = self.conn.hcm.routes.table.get()?;
        let mut state = self.record.state.borrow_mut();
        match table.decide(&state.head, fastrand::u64(..)) {
            Decision::None => None,
            Decision::RequireTls => {
                state.info.details = Some("redirect_to_tls".into());
                let location = format!("https://{}{}", state.head.authority, state.head.path);
                Some(reply::redirect(StatusCode::MOVED_PERMANENTLY, &location))
            }
            Decision::Route(route) => {
                state.info.route = (!route.name.is_empty()).then(|| route.name.clone());
                state.info.virtual_host = Some(route.host.clone());
                self.route = Some(route);
                None
            }
        }
    }

    /// Runs the filters over the request; a filter may answer.
    async fn filter(&mut self) -> Result<Option<Response<Body>>, Failure> {
        let hcm = self.conn.hcm.clone();
        for filter in &hcm.filters {
            let verdict = {
                let state = &mut *self.record.state.borrow_mut();
                filter.on_request(&mut Cx {
                    head: &mut state.head,
                    info: &mut state.info,
                    route: self.route.as_ref(),
                    notes: &mut self.notes,
                })
            };
            match verdict {
                Verdict::Continue => {}
                Verdict::Fail(failure) => return Err(failure),
                Verdict::Wait(future) => future.await?,
                Verdict::Reply(reply) => {
                    self.record.state.borrow_mut().info.details = Some(reply.details.into());
                    return Ok(Some(reply.response));
                }
            }
        }
        Ok(None)
    }

    fn allow_upgrade(&self, forward: &crate::route::action::Forward) -> Result<(), Failure> {
        let Some(wanted) = &self.upgrade else { return Ok(()) };
        let allowed = forward.upgrade(&wanted.kind).unwrap_or_else(|| self.conn.hcm.upgrade(&wanted.kind));
        if allowed {
            return Ok(());
        }
        self.conn.hcm.stats.downstream_rq_ws_on_non_ws_route().inc();
        Err(Failure::UpgradeRefused)
    }

    /// An answer that a route gives itself.
    fn locally(&self, route: &Route, mut response: Response<Body>) -> Response<Body> {
        let mut state = self.record.state.borrow_mut();
        state.info.details = Some("direct_response".into());
        headers::apply(&route.mutations.response, response.headers_mut(), &state.context());
        response
    }

    fn local_reply(&self, failure: &Failure) -> Response<Body> {
        let outcome = failure.outcome();
        let mut state = self.record.state.borrow_mut();
        state.info.flags.set(outcome.flag);
        state.info.details = Some(outcome.details.clone());
        let mut response = reply::failure(&outcome, state.info.grpc);
        // For the proxy that asked; an application or a browser has no use for it.
        let asked_by_proxy = self.conn.hcm.inbound;
        if asked_by_proxy && outcome.broken == Some(Broken::Connect) && !state.may_have_arrived {
            reply::mark_not_delivered(&mut response);
        }
        response
    }

    /// Completes the response's head and hands its body to the codec.
    fn send(mut self, (mut response, tail): Answered) -> Response<Body> {
        let hcm = self.conn.hcm.clone();
        {
            let state = &mut *self.record.state.borrow_mut();
            let mut cx = Cx {
                head: &mut state.head,
                info: &mut state.info,
                route: self.route.as_ref(),
                notes: &mut self.notes,
            };
            for filter in hcm.filters.iter().rev() {
                filter.on_response(&mut cx, response.headers_mut());
            }
            self.complete_headers(state, &mut response);
            state.info.response_code = Some(response.status().as_u16());
            state.info.timings.response_start = Some(Instant::now());
            state.info.bytes.wire_sent = head_bytes(response.headers());
            if !hcm.access_logs.is_empty() || state.info.grpc {
                state.response = Some(response.headers().clone());
            }
        }
        self.record.touch();
        if self.joined {
            // The joined connections close the record.
            self.closer.disarm();
            return response;
        }
        let (busy, closer, idle) = (self.busy, self.closer, self.idle);
        response.map(|body| Body::wrap(Download::new(body, tail, idle, (closer, busy))))
    }

    fn complete_headers(&self, state: &super::record::State, response: &mut Response<Body>) {
        let hcm = &self.conn.hcm;
        let headers = response.headers_mut();
        match &hcm.server {
            ServerHeader::Overwrite(name) => {
                headers.insert(SERVER, name.clone());
            }
            ServerHeader::AppendIfAbsent(name) => {
                headers.entry(SERVER).or_insert_with(|| name.clone());
            }
            ServerHeader::PassThrough => {}
        }
        if let Some(via) = &hcm.via {
            headers.append(http::header::VIA, via.clone());
        }
        if hcm.request_id.in_response
            && let Some(id) = state.head.headers.get(admit::REQUEST_ID)
        {
            headers.insert(admit::REQUEST_ID, id.clone());
        }
        if !self.conn.http2 && self.conn.should_close() && !self.joined {
            headers.insert(http::header::CONNECTION, HeaderValue::from_static("close"));
        }
    }
}
