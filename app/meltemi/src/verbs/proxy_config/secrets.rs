//! `proxy-config secret`.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use meltemi_identity::chain;
use serde_json::Value;

use super::dump::Dump;
use super::value::{at, text};
use crate::render::table::{Cell, Mood, Table};

/// One certificate of a secret.
#[derive(Debug, Default, PartialEq, Eq)]
struct Row {
    name: String,
    kind: &'static str,
    state: &'static str,
    valid: bool,
    serial: String,
    not_after: String,
    not_before: String,
    trust_domain: String,
}

/// The table that users know.
pub fn table(dump: &Dump, now: SystemTime) -> Table {
    let heads = [
        "RESOURCE NAME",
        "TYPE",
        "STATUS",
        "VALID CERT",
        "SERIAL NUMBER",
        "NOT AFTER",
        "NOT BEFORE",
        "TRUST DOMAIN",
    ];
    let mut table = Table::new(5, heads);
    for (state, secret) in dump.secrets() {
        for row in rows(state, secret, now) {
            let mood = if row.valid { Mood::Good } else { Mood::Bad };
            table.row([
                Cell::from(row.name),
                Cell::from(row.kind),
                Cell::from(row.state),
                Cell::new(row.valid.to_string(), mood),
                Cell::from(row.serial),
                Cell::from(row.not_after),
                Cell::from(row.not_before),
                Cell::from(row.trust_domain),
            ]);
        }
    }
    table
}

fn rows(state: &'static str, secret: &Value, now: SystemTime) -> Vec<Row> {
    let body = at(secret, "secret");
    let name = match text(secret, "name") {
        "" => text(body, "name"),
        name => name,
    };
    let name = name.rsplit('/').next().unwrap_or(name);
    // Of a chain the leaf is what matters, of a bundle every root.
    let sources = [
        ("Cert Chain", at(body, "tls_certificate.certificate_chain"), 1),
        ("CA", at(body, "validation_context.trusted_ca"), usize::MAX),
    ];
    let mut all = Vec::new();
    for (kind, source, most) in sources.into_iter().filter(|(_, source, _)| !source.is_null()) {
        all.extend(certificates(source).iter().take(most).map(|info| row(name, kind, state, info, now)));
    }
    if all.is_empty() {
        all.push(Row { name: name.to_owned(), kind: "", state, ..Row::default() });
    }
    all
}

/// The certificates that a data source holds; none when it names a file.
fn certificates(source: &Value) -> Vec<chain::Info> {
    let inline = BASE64.decode(text(source, "inline_bytes")).unwrap_or_default();
    let pem = match text(source, "inline_string") {
        "" => String::from_utf8_lossy(&inline).into_owned(),
        pem => pem.to_owned(),
    };
    let parsed = chain::parse(&pem).unwrap_or_default();
    parsed.iter().filter_map(|certificate| chain::inspect(certificate).ok()).collect()
}

fn row(name: &str, kind: &'static str, state: &'static str, info: &chain::Info, now: SystemTime) -> Row {
    Row {
        name: name.to_owned(),
        kind,
        state,
        valid: info.not_before <= now && now <= info.not_after,
        serial: info.serial.clone(),
        not_after: moment(info.not_after),
        not_before: moment(info.not_before),
        trust_domain: info.spiffe_id().ok().flatten().map(|id| id.trust_domain).unwrap_or_default(),
    }
}

fn moment(time: SystemTime) -> String {
    let seconds = time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let stamp = i64::try_from(seconds).ok().and_then(|seconds| jiff::Timestamp::from_second(seconds).ok());
    stamp.map(|stamp| stamp.to_string()).unwrap_or_default()
}
