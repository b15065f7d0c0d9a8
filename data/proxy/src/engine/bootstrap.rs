//! Reading a bootstrap from JSON or YAML.

use std::path::Path;

use meltemi_proto::envoy::config::bootstrap::v3::Bootstrap;

/// Why a bootstrap could not be read.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file is not there or not ours to read.
    #[error("cannot read {path}: {source}")]
    File {
        /// Which file.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// The text is neither JSON nor YAML.
    #[error("bootstrap is neither JSON nor YAML: {0}")]
    Syntax(String),
    /// The text is no `envoy.config.bootstrap.v3.Bootstrap`.
    #[error("bootstrap: {0}")]
    Message(String),
}

/// Reads a bootstrap from a file.
///
/// # Errors
/// When it cannot be read or is no bootstrap.
pub fn load(path: &Path) -> Result<Bootstrap, LoadError> {
    let text = std::fs::read_to_string(path)
        .map_err(|source| LoadError::File { path: path.display().to_string(), source })?;
    parse(&text)
}

/// Reads a bootstrap from JSON or YAML.
///
/// # Errors
/// When it is neither, or no bootstrap.
pub fn parse(text: &str) -> Result<Bootstrap, LoadError> {
    // First for itself: what is wrong with the text is no matter of its fields.
    yaml_serde::from_str::<serde_json::Value>(text).map_err(|error| LoadError::Syntax(error.to_string()))?;
    // Then from the text and not from that value, because only the text has lines. JSON is YAML.
    meltemi_proto::json::from_deserializer(yaml_serde::Deserializer::from_str(text))
        .map_err(|error| LoadError::Message(at_its_line(text, &error.to_string())))
}

/// An unknown field is told with the line of the mapping that it is in; people look for the line of the field.
fn at_its_line(text: &str, error: &str) -> String {
    let line = || {
        let (message, place) = error.rsplit_once(" at line ").unwrap_or((error, "1"));
        let name = message.rsplit_once("unrecognized field name '")?.1.strip_suffix('\'')?;
        let mapping: usize = place.split(' ').next()?.parse().ok()?;
        let is_it = |line: &str| {
            let key = line.trim_start_matches([' ', '-', '{', '"', '\'']);
            key.strip_prefix(name).is_some_and(|rest| rest.trim_start_matches(['"', '\'']).starts_with(':'))
        };
        let found = text.lines().enumerate().skip(mapping.saturating_sub(1)).find(|(_, line)| is_it(line));
        Some(format!("{message} at line {}", found.map_or(mapping, |(index, _)| index + 1)))
    };
    line().unwrap_or_else(|| error.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn yaml_and_json_are_read_and_wrong_fields_named() {
        let yaml = parse(
            "node: { id: a, cluster: b }\nadmin:\n  address:\n    socket_address: { address: 127.0.0.1, port_value: 0 }\n",
        );
        assert_eq!(yaml.unwrap().node.unwrap().id, "a");
        assert_eq!(parse("{\"node\":{\"id\":\"a\"}}").unwrap().node.unwrap().id, "a");
        let error = parse("node:\n  id: a\n  idd: a").unwrap_err().to_string();
        assert!(error.contains("idd") && error.contains("line 3"), "{error}");
        // Also inside of messages that are typed where they stand.
        let error = parse(
            "static_resources:\n  listeners:\n  - filter_chains:\n    - filters:\n      - typed_config:\n          \"@type\": \
                           type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy\n          stat_prefixx: a",
        );
        let error = error.unwrap_err().to_string();
        assert!(error.contains("stat_prefixx") && error.contains("line 7"), "{error}");
        let error = parse("node: { id: a }\nadmin: {}\nadminn: {}").unwrap_err().to_string();
        assert!(error.contains("line 3"), "{error}");
        assert!(parse("{").is_err());
    }
}
