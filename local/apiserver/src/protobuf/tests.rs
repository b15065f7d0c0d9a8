use super::*;
use proptest::prelude::*;

/// A length-delimited field.
fn bytes(number: u8, content: &[u8]) -> Vec<u8> {
    let mut out = vec![number << 3 | 2, u8::try_from(content.len()).unwrap()];
    out.extend_from_slice(content);
    out
}

fn envelope(api_version: &str, kind: &str, raw: &[u8]) -> Vec<u8> {
    let meta = [bytes(1, api_version.as_bytes()), bytes(2, kind.as_bytes())].concat();
    [MAGIC.to_vec(), bytes(1, &meta), bytes(2, raw)].concat()
}

#[test]
fn a_namespace_decodes_and_its_empty_fields_are_left_out() {
    let meta = [
        bytes(1, b"test"),
        bytes(2, b""),
        bytes(8, b""),
        bytes(11, &[bytes(1, b"a"), bytes(2, b"b")].concat()),
    ]
    .concat();
    let raw = [bytes(1, &meta), bytes(2, b""), bytes(3, &bytes(1, b""))].concat();
    let value = decode(&envelope("v1", "Namespace", &raw)).unwrap();
    assert_eq!(
        value,
        json!({"kind": "Namespace", "apiVersion": "v1",
        "metadata": {"name": "test", "labels": {"a": "b"}}, "spec": {}, "status": {}})
    );
}

#[test]
fn special_types_and_inlined_messages_decode() {
    // Volume{name: "v", volumeSource{emptyDir{}}} inside a pod spec.
    let volume = [bytes(1, b"v"), bytes(2, &bytes(2, b""))].concat();
    let raw = bytes(2, &bytes(1, &volume));
    let value = decode(&envelope("v1", "Pod", &raw)).unwrap();
    assert_eq!(value["spec"]["volumes"], json!([{"name": "v", "emptyDir": {}}]));
    assert_eq!(int_or_string(&[8, 1, 26, 2, b'h', b'i']).unwrap(), json!("hi"));
    assert_eq!(int_or_string(&[8, 0, 16, 80]).unwrap(), json!(80));
    assert_eq!(time(&[8, 0], false).unwrap(), json!("1970-01-01T00:00:00Z"));
}

#[test]
fn what_is_no_kubernetes_message_is_refused() {
    assert_eq!(decode(b"{}"), Err(DecodeError::NotKubernetes));
    assert_eq!(decode(&envelope("v9", "Nothing", b"")), Err(DecodeError::UnknownKind("Nothing".into())));
}

proptest! {
    #[test]
    fn any_bytes_are_decoded_or_refused(raw in proptest::collection::vec(any::<u8>(), 0..100)) {
        let _ = decode(&envelope("v1", "Pod", &raw));
        let _ = decode(&[MAGIC, &raw].concat());
    }
}

#[test]
fn the_table_names_the_fields_that_the_schemas_have() {
    let defs = crate::schema::builtin::definitions();
    let mut strange = Vec::new();
    for (message, rows) in TABLE.iter() {
        let group = message.split('.').next().unwrap();
        let found = defs.iter().find(|(name, _)| {
            name.ends_with(&format!(".{message}")) && (group != "meta" || name.contains("apimachinery"))
        });
        let Some(properties) = found.and_then(|(_, schema)| schema.get("properties")) else { continue };
        for row in rows.values().filter(|r| !r.inline) {
            if properties.get(row.name).is_none() {
                strange.push(format!("{message}.{}", row.name));
            }
        }
    }
    strange.sort();
    assert_eq!(strange, Vec::<String>::new());
}
