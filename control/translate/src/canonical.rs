//! One encoding for equal messages.
//!
//! Maps in protobuf have no order and prost writes them in that of a hash map, so two encodings of equal messages may
//! differ. Here the encoded message is walked along its descriptor and the entries of every map are sorted, also inside
//! of `Any`.

use meltemi_proto::{any, json};
use prost::{Message, Name};
use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor};

/// The encoding of a message with every map in the order of its keys.
pub fn bytes<M: Message + Name>(message: &M) -> Vec<u8> {
    let plain = message.encode_to_vec();
    let descriptor = descriptor(&M::full_name());
    descriptor.and_then(|d| rewrite(&d, &plain)).unwrap_or(plain)
}

fn descriptor(name: &str) -> Option<MessageDescriptor> {
    json::pool().ok()?.get_message_by_name(name)
}

/// One field as it stands on the wire.
struct Field<'a> {
    number: u32,
    kind: u64,
    value: &'a [u8],
}

const LENGTH_DELIMITED: u64 = 2;

/// `None` when the bytes are no message, which cannot be: they were encoded a moment ago.
fn rewrite(descriptor: &MessageDescriptor, mut bytes: &[u8]) -> Option<Vec<u8>> {
    let is_any = descriptor.full_name() == "google.protobuf.Any";
    let inner = if is_any { any_type(bytes) } else { None };
    let mut out = Vec::with_capacity(bytes.len());
    let mut map: Vec<Vec<u8>> = Vec::new();
    let mut map_number = 0;
    while !bytes.is_empty() {
        let field = next(&mut bytes)?;
        let known = descriptor.get_field(field.number);
        if map_number != field.number {
            flush(&mut out, &mut map, map_number);
        }
        if field.kind != LENGTH_DELIMITED {
            tag(&mut out, field.number, field.kind);
            out.extend_from_slice(field.value);
            continue;
        }
        let nested = known.as_ref().and_then(message_of);
        let value = match (nested, &inner) {
            (Some(message), _) => rewrite(&message, field.value)?,
            (None, Some(message)) if field.number == 2 => rewrite(message, field.value)?,
            _ => field.value.to_vec(),
        };
        if known.is_some_and(|f| f.is_map()) {
            map_number = field.number;
            map.push(value);
        } else {
            delimited(&mut out, field.number, &value);
        }
    }
    flush(&mut out, &mut map, map_number);
    Some(out)
}

/// The type of the message inside an `Any`, when it is known.
fn any_type(bytes: &[u8]) -> Option<MessageDescriptor> {
    let any = meltemi_proto::google::protobuf::Any::decode(bytes).ok()?;
    descriptor(any::message_name(&any.type_url))
}

fn message_of(field: &FieldDescriptor) -> Option<MessageDescriptor> {
    match field.kind() {
        Kind::Message(message) => Some(message),
        _ => None,
    }
}

/// Map entries begin with their key, so sorting entries sorts keys.
fn flush(out: &mut Vec<u8>, map: &mut Vec<Vec<u8>>, number: u32) {
    map.sort();
    for entry in map.drain(..) {
        delimited(out, number, &entry);
    }
}

fn delimited(out: &mut Vec<u8>, number: u32, value: &[u8]) {
    tag(out, number, LENGTH_DELIMITED);
    varint(out, value.len() as u64);
    out.extend_from_slice(value);
}

fn tag(out: &mut Vec<u8>, number: u32, kind: u64) {
    varint(out, (u64::from(number) << 3) | kind);
}

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value as u8) | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn next<'a>(bytes: &mut &'a [u8]) -> Option<Field<'a>> {
    let tag = take_varint(bytes)?;
    let (number, kind) = (u32::try_from(tag >> 3).ok()?, tag & 7);
    let length = match kind {
        0 => {
            let before = *bytes;
            take_varint(bytes)?;
            let used = before.len() - bytes.len();
            return Some(Field { number, kind, value: before.get(..used)? });
        }
        1 => 8,
        LENGTH_DELIMITED => usize::try_from(take_varint(bytes)?).ok()?,
        5 => 4,
        _ => return None,
    };
    let value = bytes.get(..length)?;
    *bytes = bytes.get(length..)?;
    Some(Field { number, kind, value })
}

fn take_varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let (first, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(first & 0x7f) << shift;
        if first & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire;
    use meltemi_proto::envoy::config::cluster::v3::Cluster;
    use meltemi_proto::envoy::config::core::v3::Metadata;
    use std::collections::BTreeMap;

    fn cluster() -> Cluster {
        let fields = wire::fields([
            ("a", wire::string("1")),
            ("b", wire::string("2")),
            ("c", wire::object(wire::fields([("x", wire::string("3")), ("y", wire::string("4"))]))),
        ]);
        let metadata = wire::metadata(BTreeMap::from([("one", fields.clone()), ("two", fields.clone())]));
        let mut cluster = Cluster { name: "c".into(), metadata: Some(metadata), ..Default::default() };
        for name in ["p", "q", "r"] {
            let any = any::pack(&Metadata {
                filter_metadata: [(name.into(), fields.clone())].into(),
                ..Default::default()
            });
            cluster.typed_extension_protocol_options.insert(name.into(), any);
        }
        cluster
    }

    #[test]
    fn equal_messages_have_equal_bytes() {
        // Every map has its own hash seed, so a hundred equal clusters would hardly ever encode alike.
        let first = bytes(&cluster());
        assert!((0..100).all(|_| bytes(&cluster()) == first));
    }

    #[test]
    fn nothing_is_lost() {
        let decoded = Cluster::decode(bytes(&cluster()).as_slice()).unwrap();
        assert_eq!(decoded.metadata, cluster().metadata);
        assert_eq!(decoded.typed_extension_protocol_options.len(), 3);
    }
}
