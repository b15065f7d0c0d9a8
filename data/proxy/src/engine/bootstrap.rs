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
    let json: serde_json::Value = if text.trim_start().starts_with('{') {
        serde_json::from_str(text).map_err(|error| LoadError::Syntax(error.to_string()))?
    } else {
        yaml_serde::from_str(text).map_err(|error| LoadError::Syntax(error.to_string()))?
    };
    meltemi_proto::json::from_json(&json).map_err(|error| LoadError::Message(error.to_string()))
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
        let error = parse("node: { idd: a }").unwrap_err().to_string();
        assert!(error.contains("idd"), "{error}");
        assert!(parse("{").is_err());
    }
}
