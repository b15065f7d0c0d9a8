//! Proto durations and wrapped numbers as Rust values.

use std::time::Duration;

use meltemi_proto::google::protobuf;

use super::reject::{Compiled, Reject};

/// Seconds a proto duration may have by its definition; sums and products of such do not overflow.
const LONGEST: u64 = 315_576_000_000;

/// A non-negative proto duration.
pub fn duration(field: &str, proto: &protobuf::Duration) -> Compiled<Duration> {
    let (Ok(seconds), Ok(nanos)) = (u64::try_from(proto.seconds), u32::try_from(proto.nanos)) else {
        return Err(Reject::new(field, "must not be negative"));
    };
    if seconds > LONGEST {
        return Err(Reject::new(field, "must not be above 315,576,000,000 s (10,000 years)"));
    }
    if nanos >= 1_000_000_000 {
        return Err(Reject::new(field, "nanos must be below 1,000,000,000"));
    }
    Ok(Duration::new(seconds, nanos))
}

/// A duration that may be absent; `0s` means "off", as Envoy's time-outs do.
pub fn timeout(
    field: &str,
    proto: &Option<protobuf::Duration>,
    default: Option<Duration>,
) -> Compiled<Option<Duration>> {
    match proto {
        None => Ok(default),
        Some(proto) => Ok(Some(duration(field, proto)?).filter(|d| !d.is_zero())),
    }
}

/// A duration that may be absent; zero stays zero.
pub fn optional(field: &str, proto: &Option<protobuf::Duration>) -> Compiled<Option<Duration>> {
    proto.as_ref().map(|proto| duration(field, proto)).transpose()
}

/// A wrapped number or its default.
pub fn u32_or(proto: &Option<protobuf::UInt32Value>, default: u32) -> u32 {
    proto.as_ref().map_or(default, |v| v.value)
}

/// A wrapped bool or its default.
pub fn bool_or(proto: &Option<protobuf::BoolValue>, default: bool) -> bool {
    proto.as_ref().map_or(default, |v| v.value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_bounds() {
        let compile = |seconds, nanos| duration("timeout", &protobuf::Duration { seconds, nanos });
        assert_eq!(compile(1, 5), Ok(Duration::new(1, 5)));
        assert!(compile(315_576_000_000, 0).is_ok());
        for (seconds, nanos) in [(-1, 0), (0, -1), (0, 1_000_000_000), (315_576_000_001, 0), (i64::MAX, 0)] {
            assert_eq!(compile(seconds, nanos).unwrap_err().field(), "timeout");
        }
    }
}
