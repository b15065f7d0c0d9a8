//! Envoy's response flags: why a response is not simply what the upstream said.

use std::fmt;

/// A set of Envoy response flags. Displays as Envoy's short names joined by commas, or `-` when empty.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Flags(u32);

macro_rules! flags {
    ($($bit:literal $name:ident $short:literal $long:literal $doc:literal;)*) => {
        impl Flags {
            $(#[doc = concat!("`", $short, "`: ", $doc)] pub const $name: Flags = Flags(1 << $bit);)*
        }
        /// Every flag with its short and its long name, in the order in which Envoy prints them.
        const NAMES: &[(Flags, &str, &str)] = &[$((Flags::$name, $short, $long),)*];
    };
}

flags! {
    0 FAILED_LOCAL_HEALTH_CHECK "LH" "FailedLocalHealthCheck" "the local service failed its health check (503).";
    1 NO_HEALTHY_UPSTREAM "UH" "NoHealthyUpstream" "the cluster has no healthy host (503).";
    2 UPSTREAM_REQUEST_TIMEOUT "UT" "UpstreamRequestTimeout" "the upstream did not answer in time (504).";
    3 LOCAL_RESET "LR" "LocalReset" "this side reset the upstream stream.";
    4 UPSTREAM_REMOTE_RESET "UR" "UpstreamRemoteReset" "the upstream reset the stream.";
    5 UPSTREAM_CONNECTION_FAILURE "UF" "UpstreamConnectionFailure" "the upstream could not be connected to.";
    6 UPSTREAM_CONNECTION_TERMINATION "UC" "UpstreamConnectionTermination" "the upstream closed the connection.";
    7 UPSTREAM_OVERFLOW "UO" "UpstreamOverflow" "a circuit breaker refused the request.";
    8 NO_ROUTE_FOUND "NR" "NoRouteFound" "no route or no filter chain matched.";
    9 DELAY_INJECTED "DI" "DelayInjected" "a configured fault delayed the request.";
    10 FAULT_INJECTED "FI" "FaultInjected" "a configured fault aborted the request.";
    11 RATE_LIMITED "RL" "RateLimited" "a rate limit refused the request.";
    12 UNAUTHORIZED_EXTERNAL_SERVICE "UAEX" "UnauthorizedExternalService" "the external authorization service refused.";
    13 RATE_LIMIT_SERVICE_ERROR "RLSE" "RateLimitServiceError" "the rate-limit service failed.";
    14 DOWNSTREAM_CONNECTION_TERMINATION "DC" "DownstreamConnectionTermination" "the client went away.";
    15 UPSTREAM_RETRY_LIMIT_EXCEEDED "URX" "UpstreamRetryLimitExceeded" "all retries (or TCP connection attempts) were used up.";
    16 STREAM_IDLE_TIMEOUT "SI" "StreamIdleTimeout" "nothing happened on the stream for too long (408 or 504).";
    17 INVALID_REQUEST_HEADERS "IH" "InvalidEnvoyRequestHeaders" "an `x-envoy-*` request header was invalid in strict mode.";
    18 DOWNSTREAM_PROTOCOL_ERROR "DPE" "DownstreamProtocolError" "the client broke the protocol.";
    19 UPSTREAM_MAX_STREAM_DURATION "UMSDR" "UpstreamMaxStreamDurationReached" "the upstream stream lived too long.";
    20 RESPONSE_FROM_CACHE "RFCF" "ResponseFromCacheFilter" "a cache answered.";
    21 NO_FILTER_CONFIG "NFCF" "NoFilterConfigFound" "a discovered filter configuration never arrived.";
    22 DURATION_TIMEOUT "DT" "DurationTimeout" "the request or the connection lived too long.";
    23 UPSTREAM_PROTOCOL_ERROR "UPE" "UpstreamProtocolError" "the upstream broke the protocol.";
    24 NO_CLUSTER_FOUND "NC" "NoClusterFound" "the route's cluster does not exist.";
    25 OVERLOAD "OM" "OverloadManagerTerminated" "the overload manager refused.";
    26 DNS_FAILURE "DF" "DnsResolutionFailed" "a name could not be resolved.";
    27 DROP_OVERLOAD "DO" "DropOverload" "the control plane asked to drop the request.";
    28 DOWNSTREAM_REMOTE_RESET "DR" "DownstreamRemoteReset" "the client reset the stream.";
    29 UNCONDITIONAL_DROP_OVERLOAD "UDO" "UnconditionalDropOverload" "the control plane asked to drop every request.";
}

impl Flags {
    /// No flag at all.
    pub const NONE: Flags = Flags(0);

    /// Adds the flags of `other`.
    pub fn set(&mut self, other: Flags) {
        self.0 |= other.0;
    }

    /// Whether any flag of `other` is set.
    pub fn intersects(self, other: Flags) -> bool {
        self.0 & other.0 != 0
    }

    /// Whether no flag is set.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The flags as a number, for use as a key.
    pub fn bits(self) -> u32 {
        self.0
    }

    /// The flag with this short name (`UH`, `URX`, …).
    pub fn parse(short: &str) -> Option<Flags> {
        NAMES.iter().find(|(_, name, _)| *name == short).map(|(flag, ..)| *flag)
    }

    /// The long names joined by commas (`%RESPONSE_FLAGS_LONG%`), or `-`.
    pub fn long(self) -> String {
        let names: Vec<_> = NAMES.iter().filter(|(f, ..)| self.intersects(*f)).map(|n| n.2).collect();
        if names.is_empty() { "-".to_owned() } else { names.join(",") }
    }
}

impl std::ops::BitOr for Flags {
    type Output = Flags;
    fn bitor(self, other: Flags) -> Flags {
        Flags(self.0 | other.0)
    }
}

impl fmt::Display for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.write_str("-");
        }
        let mut separator = "";
        for (flag, short, _) in NAMES {
            if self.intersects(*flag) {
                write!(f, "{separator}{short}")?;
                separator = ",";
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Flags({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_names_come_in_envoys_order() {
        assert_eq!(Flags::NONE.to_string(), "-");
        assert_eq!(
            (Flags::UPSTREAM_RETRY_LIMIT_EXCEEDED | Flags::UPSTREAM_CONNECTION_FAILURE).to_string(),
            "UF,URX"
        );
        assert_eq!(Flags::NO_CLUSTER_FOUND.long(), "NoClusterFound");
    }

    #[test]
    fn every_short_name_parses_back() {
        for (flag, short, _) in NAMES {
            assert_eq!(Flags::parse(short), Some(*flag));
        }
        assert_eq!(Flags::parse("XX"), None);
    }
}
