//! When a request is sent again. Deciding is pure; waiting and sending are the exchange's.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, StatusCode};
use meltemi_proto::envoy::config::route::v3::RetryPolicy as Proto;

use crate::base::duration::{duration, timeout, u32_or};
use crate::base::head::NOT_DELIVERED;
use crate::base::reject::{Compiled, Reject, each, unsupported};
use crate::matcher::header::HeaderMatcher;

const BASE_INTERVAL: Duration = Duration::from_millis(25);

/// A compiled retry policy.
#[derive(Debug, Clone)]
pub struct RetryPolicy {
    /// Conditions.
    pub on: RetryOn,
    /// Attempts after the first.
    pub retries: u32,
    /// For one attempt, until the response's head.
    pub per_try_timeout: Option<Duration>,
    /// Shortest and longest wait between attempts.
    pub back_off: (Duration, Duration),
    /// Status codes for `retriable-status-codes`.
    pub status_codes: Arc<[u16]>,
    /// Response headers for `retriable-headers`.
    pub response_headers: Arc<[HeaderMatcher]>,
    /// A host that failed is not tried again.
    pub avoid_previous_hosts: bool,
}

impl Default for RetryPolicy {
    /// Nothing is repeated; what a request asks for by itself waits as by Envoy's defaults.
    fn default() -> Self {
        Self {
            on: RetryOn::default(),
            retries: 0,
            per_try_timeout: None,
            back_off: (BASE_INTERVAL, BASE_INTERVAL * 10),
            status_codes: Arc::default(),
            response_headers: Arc::default(),
            avoid_previous_hosts: false,
        }
    }
}

macro_rules! conditions {
    ($($bit:literal $name:ident $text:literal $doc:literal;)*) => {
        /// The conditions of `retry_on`.
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
        pub struct RetryOn(u32);

        impl RetryOn {
            $(#[doc = $doc] pub const $name: Self = Self(1 << $bit);)*

            fn parse(text: &str) -> Option<Self> {
                match text {
                    $($text => Some(Self::$name),)*
                    _ => None,
                }
            }
        }
    };
}

conditions! {
    0 SERVER_ERROR "5xx" "Any 5xx, or no response at all.";
    1 GATEWAY_ERROR "gateway-error" "502, 503 or 504.";
    2 RESET "reset" "No response at all.";
    3 RESET_BEFORE_REQUEST "reset-before-request" "No response, and the request's head was not sent.";
    4 CONNECT_FAILURE "connect-failure" "No connection.";
    5 ENVOY_RATELIMITED "envoy-ratelimited" "`x-envoy-ratelimited` in the response.";
    6 RETRIABLE_4XX "retriable-4xx" "409.";
    7 REFUSED_STREAM "refused-stream" "The stream was refused.";
    8 STATUS_CODES "retriable-status-codes" "A listed status.";
    9 HEADERS "retriable-headers" "A listed header.";
    10 HTTP3 "http3-post-connect-failure" "Accepted; HTTP/3 is not spoken.";
    11 GRPC_CANCELLED "cancelled" "gRPC status 1.";
    12 GRPC_DEADLINE "deadline-exceeded" "gRPC status 4.";
    13 GRPC_INTERNAL "internal" "gRPC status 13.";
    14 GRPC_EXHAUSTED "resource-exhausted" "gRPC status 8.";
    15 GRPC_UNAVAILABLE "unavailable" "gRPC status 14.";
}

impl RetryOn {
    /// Compiles a comma-separated list; Envoy ignores what it does not know, and so do we.
    pub fn compile(text: &str) -> Self {
        text.split(',')
            .filter_map(|word| Self::parse(word.trim()))
            .fold(Self(0), |all, one| Self(all.0 | one.0))
    }

    /// Whether any of the conditions is set.
    pub fn has(self, condition: Self) -> bool {
        self.0 & condition.0 != 0
    }

    /// Whether nothing is retried.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Both.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// How an attempt without a response ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Broken {
    /// No connection.
    Connect,
    /// The stream was refused before the application saw it.
    Refused,
    /// The connection or the stream was lost after the request's head had left.
    Reset,
    /// The attempt's time-out passed.
    Timeout,
}

impl RetryPolicy {
    /// Compiles Envoy's message.
    pub fn compile(proto: &Proto) -> Compiled<Self> {
        unsupported(&[
            // It makes retries rarer.
            (!proto.retriable_request_headers.is_empty(), "retriable_request_headers"),
            (proto.per_try_idle_timeout.is_some(), "per_try_idle_timeout"),
        ])?;
        let on = RetryOn::compile(&proto.retry_on);
        let base = match proto.retry_back_off.as_ref().and_then(|b| b.base_interval.as_ref()) {
            Some(base) => duration("retry_back_off.base_interval", base)?.max(Duration::from_millis(1)),
            None => BASE_INTERVAL,
        };
        let max = match proto.retry_back_off.as_ref().and_then(|b| b.max_interval.as_ref()) {
            Some(max) => duration("retry_back_off.max_interval", max)?,
            None => base * 10,
        };
        if max < base {
            return Err(Reject::new("retry_back_off.max_interval", "must not be below base_interval"));
        }
        Ok(Self {
            on,
            retries: u32_or(&proto.num_retries, 1),
            per_try_timeout: timeout("per_try_timeout", &proto.per_try_timeout, None)?,
            back_off: (base, max),
            status_codes: proto
                .retriable_status_codes
                .iter()
                .filter_map(|c| u16::try_from(*c).ok())
                .collect(),
            response_headers: each("retriable_headers", &proto.retriable_headers, HeaderMatcher::compile)?
                .into(),
            avoid_previous_hosts: proto
                .retry_host_predicate
                .iter()
                .any(|p| p.name == "envoy.retry_host_predicates.previous_hosts"),
        })
    }

    /// Whether an attempt without a response is repeated.
    pub fn after_break(&self, broken: Broken) -> bool {
        let any = RetryOn::SERVER_ERROR.and(RetryOn::GATEWAY_ERROR);
        let conditions = match broken {
            Broken::Connect => {
                any.and(RetryOn::CONNECT_FAILURE).and(RetryOn::RESET).and(RetryOn::RESET_BEFORE_REQUEST)
            }
            Broken::Refused => {
                any.and(RetryOn::REFUSED_STREAM).and(RetryOn::RESET).and(RetryOn::RESET_BEFORE_REQUEST)
            }
            Broken::Reset => any.and(RetryOn::RESET),
            Broken::Timeout => any.and(RetryOn::RESET),
        };
        self.on.has(conditions)
    }

    /// Whether a response is thrown away and the request repeated.
    pub fn after_response(&self, status: StatusCode, headers: &HeaderMap) -> bool {
        let code = status.as_u16();
        let limited = headers.contains_key("x-envoy-ratelimited");
        if limited {
            return self.on.has(RetryOn::ENVOY_RATELIMITED);
        }
        if is_not_delivered(status, headers) {
            return self.after_break(Broken::Connect);
        }
        (status.is_server_error() && self.on.has(RetryOn::SERVER_ERROR))
            || (matches!(code, 502..=504) && self.on.has(RetryOn::GATEWAY_ERROR))
            || (code == 409 && self.on.has(RetryOn::RETRIABLE_4XX))
            || (self.on.has(RetryOn::STATUS_CODES) && self.status_codes.contains(&code))
            || (self.on.has(RetryOn::HEADERS) && self.header_fits(headers))
            || self.grpc_fits(headers)
    }

    fn header_fits(&self, headers: &HeaderMap) -> bool {
        if self.response_headers.is_empty() {
            return false;
        }
        let head = crate::base::head::RequestHead { headers: headers.clone(), ..Default::default() };
        self.response_headers.iter().any(|matcher| matcher.is_match(&head))
    }

    fn grpc_fits(&self, headers: &HeaderMap) -> bool {
        let Some(status) = headers.get("grpc-status").and_then(|v| v.to_str().ok()) else { return false };
        let condition = match status {
            "1" => RetryOn::GRPC_CANCELLED,
            "4" => RetryOn::GRPC_DEADLINE,
            "8" => RetryOn::GRPC_EXHAUSTED,
            "13" => RetryOn::GRPC_INTERNAL,
            "14" => RetryOn::GRPC_UNAVAILABLE,
            _ => return false,
        };
        self.on.has(condition)
    }

    /// The wait before retry number `retry` (from 1): fully jittered exponential back-off.
    pub fn wait(&self, retry: u32, random: u64) -> Duration {
        let (base, max) = self.back_off;
        let ceiling = base.saturating_mul(1u32.checked_shl(retry.min(20)).unwrap_or(u32::MAX) - 1).min(max);
        let millis = u64::try_from(ceiling.as_millis()).unwrap_or(u64::MAX).max(1);
        Duration::from_millis(random % millis)
    }
}

/// Whether a response tells of a connection failure one hop further: the proxy beside the application could not reach it.
pub fn is_not_delivered(status: StatusCode, headers: &HeaderMap) -> bool {
    status == StatusCode::SERVICE_UNAVAILABLE && headers.contains_key(NOT_DELIVERED)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(on: &str) -> RetryPolicy {
        RetryPolicy::compile(&Proto { retry_on: on.into(), ..Proto::default() }).unwrap()
    }

    #[test]
    fn istios_default_does_not_repeat_what_may_have_arrived() {
        let policy = policy("connect-failure,refused-stream,unavailable,cancelled,retriable-status-codes");
        assert!(policy.after_break(Broken::Connect) && policy.after_break(Broken::Refused));
        assert!(!policy.after_break(Broken::Reset));
        assert!(!policy.after_break(Broken::Timeout));
        assert!(!policy.after_response(StatusCode::SERVICE_UNAVAILABLE, &HeaderMap::new()));
        let unavailable = HeaderMap::from_iter([("grpc-status".parse().unwrap(), "14".parse().unwrap())]);
        assert!(policy.after_response(StatusCode::OK, &unavailable));
    }

    #[test]
    fn responses_are_judged_by_status() {
        for (on, status, expected) in [
            ("5xx", 500, true),
            ("5xx", 404, false),
            ("gateway-error", 500, false),
            ("gateway-error", 503, true),
            ("retriable-4xx", 409, true),
            ("", 503, false),
        ] {
            let status = StatusCode::from_u16(status).unwrap();
            assert_eq!(policy(on).after_response(status, &HeaderMap::new()), expected, "{on} {status}");
        }
    }

    #[test]
    fn listed_codes_need_their_condition_and_narrower_conditions_are_refused() {
        let mut proto = Proto { retriable_status_codes: vec![500], ..Proto::default() };
        let repeats = |proto: &Proto| {
            let policy = RetryPolicy::compile(proto).unwrap();
            policy.after_response(StatusCode::INTERNAL_SERVER_ERROR, &HeaderMap::new())
        };
        assert!(!repeats(&proto));
        proto.retry_on = "retriable-status-codes".into();
        assert!(repeats(&proto));
        proto.retriable_request_headers.push(Default::default());
        assert_eq!(RetryPolicy::compile(&proto).unwrap_err().field(), "retriable_request_headers");
    }

    #[test]
    fn a_request_without_a_policy_of_its_route_waits_by_default() {
        assert!((0..100).any(|random| RetryPolicy::default().wait(3, random) > Duration::from_millis(5)));
    }

    #[test]
    fn waits_grow_up_to_the_maximum() {
        let policy = policy("5xx");
        for retry in 1..30 {
            assert!(policy.wait(retry, u64::MAX) <= Duration::from_millis(250));
        }
    }
}
