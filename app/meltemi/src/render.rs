//! How results are printed: for people, or as JSON or YAML for programs.

pub mod table;

use serde::Serialize;

/// The value of `-o`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    #[value(alias = "short", alias = "table", alias = "log")]
    Text,
    /// JSON, indented.
    Json,
    /// YAML.
    Yaml,
}

impl Format {
    /// The value in a structured format; `None` when people are to read it.
    pub fn structured<T: Serialize>(self, value: &T) -> Option<String> {
        match self {
            Self::Text => None,
            Self::Json => serde_json::to_string_pretty(value).ok(),
            Self::Yaml => yaml_serde::to_string(value).ok().map(|text| text.trim_end().to_owned()),
        }
    }
}

/// Prints text. Who stops reading (`| head`) has seen enough: that is no error.
pub fn emit(text: &str) {
    use std::io::Write as _;
    if std::io::stdout().lock().write_all(text.as_bytes()).is_err() {
        std::process::exit(0);
    }
}
