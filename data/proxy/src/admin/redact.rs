//! Nothing secret leaves through a dump.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Map, Value};

/// What stands in a secret's place; as Envoy has it.
const REDACTED: &str = "[redacted]";

/// Fields whose contents Envoy's API marks as sensitive. All hold a data source or a list of them.
const SENSITIVE: [&str; 7] = [
    "private_key",
    "password",
    "pkcs12",
    "session_ticket_keys",
    "generic_secret",
    "token_secret",
    "hmac_secret",
];

/// Replaces all secret contents below `value`; file names stay.
pub(super) fn redact(value: &mut Value) {
    walk(value, false);
}

fn walk(value: &mut Value, secret: bool) {
    match value {
        Value::Object(fields) => {
            redact_undecoded(fields);
            for (name, inner) in fields {
                match (secret, name.as_str()) {
                    (true, "inline_bytes") => *inner = BASE64.encode(REDACTED).into(),
                    (true, "inline_string") => *inner = REDACTED.into(),
                    (_, name) => walk(inner, secret || SENSITIVE.contains(&name)),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| walk(item, secret)),
        _ => {}
    }
}

/// What holds secrets and did not decode is shown by its type alone: its bytes may be those of a key.
fn redact_undecoded(fields: &mut Map<String, Value>) {
    let kind = fields.get("@type").and_then(Value::as_str).unwrap_or_default();
    let holds_secrets = kind.contains(".transport_sockets.tls.") || kind.contains(".transport_sockets.quic.");
    if holds_secrets && let Some(bytes) = fields.get_mut("value").filter(|value| value.is_string()) {
        *bytes = REDACTED.into();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_secret_that_does_not_decode_is_not_shown() {
        let any = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret";
        let mut dump =
            json!({"error_state": {"failed_configuration": {"@type": any, "value": "LS0tLS1CRUdJTg=="}}});
        redact(&mut dump);
        assert_eq!(dump["error_state"]["failed_configuration"], json!({"@type": any, "value": REDACTED}));
    }

    #[test]
    fn keys_are_hidden_and_certificates_are_not() {
        let mut dump = json!({
            "secret": {
                "tls_certificate": {
                    "certificate_chain": {"inline_bytes": "Y2VydA=="},
                    "private_key": {"inline_string": "-----BEGIN"},
                },
                "session_ticket_keys": {"keys": [{"inline_bytes": "c2VjcmV0"}, {"filename": "/key"}]},
            },
        });
        redact(&mut dump);
        let expected = json!({
            "secret": {
                "tls_certificate": {
                    "certificate_chain": {"inline_bytes": "Y2VydA=="},
                    "private_key": {"inline_string": "[redacted]"},
                },
                "session_ticket_keys": {"keys": [{"inline_bytes": "W3JlZGFjdGVkXQ=="}, {"filename": "/key"}]},
            },
        });
        assert_eq!(dump, expected);
    }
}
