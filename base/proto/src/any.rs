//! Packing messages into `google.protobuf.Any` and out of it.

use prost::{Message, Name};

use crate::google::protobuf::Any;

/// Why an [`Any`] could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum UnpackError {
    /// The `Any` holds something else.
    #[error("expected a message of type {expected}, found {found}")]
    Type {
        /// Type URL that the caller can use.
        expected: String,
        /// Type URL in the `Any`.
        found: String,
    },
    /// The bytes are not a message of the type named.
    #[error("malformed {type_url}: {source}")]
    Decode {
        /// Type URL in the `Any`.
        type_url: String,
        /// What the decoder found.
        source: prost::DecodeError,
    },
}

/// Packs `message` under its own type URL.
pub fn pack<M: Message + Name>(message: &M) -> Any {
    Any { type_url: M::type_url(), value: message.encode_to_vec() }
}

/// Opens `any` as an `M`.
///
/// # Errors
/// When the type URL names another message or the bytes do not decode. The host part of the URL is not compared,
/// as the protobuf documentation asks.
pub fn unpack<M: Message + Name + Default>(any: &Any) -> Result<M, UnpackError> {
    if message_name(&any.type_url) != M::full_name() {
        return Err(UnpackError::Type { expected: M::type_url(), found: any.type_url.clone() });
    }
    M::decode(any.value.as_slice())
        .map_err(|source| UnpackError::Decode { type_url: any.type_url.clone(), source })
}

/// The full message name at the end of a type URL.
pub fn message_name(type_url: &str) -> &str {
    type_url.rsplit_once('/').map_or(type_url, |(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::envoy::config::cluster::v3::Cluster;
    use crate::envoy::config::listener::v3::Listener;

    #[test]
    fn opens_what_was_packed() {
        let cluster = Cluster { name: "c".into(), ..Default::default() };
        let any = pack(&cluster);
        assert_eq!(any.type_url, crate::type_url::CLUSTER);
        assert_eq!(unpack::<Cluster>(&any).unwrap(), cluster);
    }

    #[test]
    fn names_both_types_when_they_differ() {
        let any = pack(&Listener::default());
        let error = unpack::<Cluster>(&any).unwrap_err().to_string();
        assert!(error.contains("v3.Cluster") && error.contains("v3.Listener"), "{error}");
    }

    #[test]
    fn reports_bytes_that_do_not_decode() {
        let any = Any { type_url: crate::type_url::CLUSTER.into(), value: vec![0xff; 3] };
        assert!(matches!(unpack::<Cluster>(&any), Err(UnpackError::Decode { .. })));
    }
}
