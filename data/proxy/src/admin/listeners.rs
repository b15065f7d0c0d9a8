//! `/listeners`: a line each, or JSON.

use http::StatusCode;
use meltemi_proto::envoy::admin::v3 as proto;
use meltemi_proto::envoy::config::core::v3::{Address, address, socket_address};
use meltemi_proto::json::{JsonError, Style, to_json_as};

use super::query::Query;
use super::{Admin, Answer};

pub(super) fn answer(admin: &Admin, query: &Query) -> Answer {
    let listeners = admin.listeners.listeners();
    if query.get("format") != Some("json") {
        return Answer::text(listeners.iter().map(line).collect::<String>());
    }
    let all = proto::Listeners { listener_statuses: listeners };
    to_json_as(&all, Style { proto_names: true }).map_or_else(failed, |value| Answer::json(&value))
}

fn line(listener: &proto::ListenerStatus) -> String {
    let all = std::iter::once(address_text(listener.local_address.as_ref()))
        .chain(listener.additional_local_addresses.iter().map(|address| address_text(Some(address))));
    format!("{}::{}\n", listener.name, all.collect::<Vec<_>>().join(","))
}

/// `10.0.0.1:80`, `[::1]:80`, a socket's path, or nothing.
pub(super) fn address_text(address: Option<&Address>) -> String {
    match address.and_then(|address| address.address.as_ref()) {
        Some(address::Address::SocketAddress(socket)) => {
            let port = match &socket.port_specifier {
                Some(socket_address::PortSpecifier::PortValue(port)) => port.to_string(),
                Some(socket_address::PortSpecifier::NamedPort(name)) => name.clone(),
                None => "0".to_owned(),
            };
            match socket.address.contains(':') {
                true => format!("[{}]:{port}", socket.address),
                false => format!("{}:{port}", socket.address),
            }
        }
        Some(address::Address::Pipe(pipe)) => pipe.path.clone(),
        Some(address::Address::EnvoyInternalAddress(_)) | None => String::new(),
    }
}

/// The answer when our own messages do not become JSON.
pub(super) fn failed(error: JsonError) -> Answer {
    Answer::problem(StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
}
