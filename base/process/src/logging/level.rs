//! `default:info,xds:debug`.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use tracing_subscriber::filter::{LevelFilter, Targets};

/// Name of the level for scopes without one of their own.
const DEFAULT: &str = "default";
/// Istio's other name for it.
const ALL: &str = "all";

/// A level for each scope.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Levels {
    default: LevelFilter,
    scopes: BTreeMap<String, LevelFilter>,
}

/// Why levels were refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LevelError {
    /// Not a level.
    #[error("log level {0:?}: expected none, error, warn, info, debug or trace")]
    Level(String),
    /// Not `scope:level`.
    #[error("log level {0:?}: expected <scope>:<level>, such as default:info,xds:debug")]
    Shape(String),
    /// Logging was started before.
    #[error("logging was started twice in this process")]
    Twice,
    /// The subscriber is gone.
    #[error("logging has ended")]
    Gone,
}

impl Default for Levels {
    fn default() -> Self {
        Self { default: LevelFilter::INFO, scopes: BTreeMap::new() }
    }
}

impl FromStr for Levels {
    type Err = LevelError;

    fn from_str(text: &str) -> Result<Self, LevelError> {
        Self::default().merged(text)
    }
}

impl Levels {
    /// These levels with some changed.
    ///
    /// # Errors
    /// When the text does not parse.
    pub fn merged(&self, text: &str) -> Result<Self, LevelError> {
        let mut merged = self.clone();
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            match part.split_once(':') {
                // A bare level is meant for everything.
                None => merged.default = level(part).map_err(|_| LevelError::Shape(part.to_owned()))?,
                Some((DEFAULT | ALL, value)) => merged.default = level(value)?,
                Some(("", _)) => return Err(LevelError::Shape(part.to_owned())),
                Some((scope, value)) => {
                    merged.scopes.insert(scope.to_owned(), level(value)?);
                }
            }
        }
        Ok(merged)
    }

    /// Scopes with a level of their own.
    pub fn scopes(&self) -> impl Iterator<Item = (&str, String)> {
        self.scopes.iter().map(|(scope, level)| (scope.as_str(), name(*level)))
    }

    /// As a filter. Each scope stands for a crate of ours and for an explicit target.
    pub(super) fn targets(&self) -> Targets {
        let scopes = self
            .scopes
            .iter()
            .flat_map(|(scope, level)| [(format!("meltemi_{scope}"), *level), (scope.clone(), *level)]);
        Targets::new().with_default(self.default).with_targets(scopes)
    }
}

impl fmt::Display for Levels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{DEFAULT}:{}", name(self.default))?;
        self.scopes.iter().try_for_each(|(scope, level)| write!(f, ",{scope}:{}", name(*level)))
    }
}

fn level(text: &str) -> Result<LevelFilter, LevelError> {
    match text.to_ascii_lowercase().as_str() {
        "none" | "off" => Ok(LevelFilter::OFF),
        // Istio's and Envoy's words for what we do not tell apart.
        "fatal" | "critical" | "error" => Ok(LevelFilter::ERROR),
        "warn" | "warning" => Ok(LevelFilter::WARN),
        "info" => Ok(LevelFilter::INFO),
        "debug" => Ok(LevelFilter::DEBUG),
        "trace" => Ok(LevelFilter::TRACE),
        _ => Err(LevelError::Level(text.to_owned())),
    }
}

fn name(level: LevelFilter) -> String {
    level.into_level().map_or_else(|| "none".to_owned(), |level| level.as_str().to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use tracing::Level;

    use super::*;

    #[test]
    fn levels_parse_and_print() {
        let table = [
            ("", "default:info"),
            ("debug", "default:debug"),
            ("default:warning", "default:warn"),
            ("all:none, xds:debug", "default:none,xds:debug"),
        ];
        for (text, expected) in table {
            assert_eq!(text.parse::<Levels>().unwrap().to_string(), expected);
        }
        for text in ["loud", "xds:loud", ":info"] {
            assert!(text.parse::<Levels>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_scope_is_a_crate_or_a_target() {
        let levels = "default:warn,xds:debug".parse::<Levels>().unwrap();
        let targets = levels.merged("ca:info").unwrap().targets();
        assert!(targets.would_enable("meltemi_xds::client::run", &Level::DEBUG));
        assert!(targets.would_enable("ca", &Level::INFO));
        assert!(!targets.would_enable("meltemi_proxy", &Level::INFO));
    }
}
