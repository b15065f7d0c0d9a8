//! What stands in the parentheses of an operator.

use super::value::GrpcFormat;
use crate::base::head::HeaderKey;
use crate::base::reject::{At, Compiled, Reject};

/// `X?Y` of REQ, RESP and TRAILER.
pub(super) fn header(arguments: &str) -> Compiled<(HeaderKey, Option<HeaderKey>)> {
    let (main, other) = match arguments.split_once('?') {
        Some((main, other)) => (main, Some(other)),
        None => (arguments, None),
    };
    let key = |name: &str| HeaderKey::compile("", name);
    // The alternative in `X?:PATH` is the pseudo-header `:PATH`.
    Ok((key(main).at("REQ/RESP/TRAILER")?, other.map(key).transpose().at("REQ/RESP/TRAILER")?))
}

/// The argument of GRPC_STATUS.
pub(super) fn grpc_format(arguments: Option<&str>) -> Compiled<GrpcFormat> {
    match arguments.unwrap_or("CAMEL_STRING") {
        "CAMEL_STRING" | "" => Ok(GrpcFormat::Camel),
        "SNAKE_STRING" => Ok(GrpcFormat::Snake),
        "NUMBER" => Ok(GrpcFormat::Number),
        other => Err(Reject::new(
            "",
            format!("GRPC_STATUS({other}): expected CAMEL_STRING, SNAKE_STRING or NUMBER"),
        )),
    }
}
