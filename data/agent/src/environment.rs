//! What the container tells the process: variables and the downward API's files, read once.

use std::collections::BTreeMap;
use std::path::Path;

/// Labels or annotations of a pod.
pub type Pairs = BTreeMap<String, String>;

/// All inputs from outside, as values.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    /// Environment variables.
    pub vars: Pairs,
    /// The pod's labels.
    pub labels: Pairs,
    /// The pod's annotations.
    pub annotations: Pairs,
}

/// Where the injected volume with the downward API is mounted.
const POD_INFO: &str = "/etc/istio/pod";

impl Environment {
    /// Reads this process's surroundings. Files that are not there count as empty.
    pub fn read() -> Self {
        let vars = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        let file = |name: &str| {
            let text = std::fs::read_to_string(Path::new(POD_INFO).join(name)).unwrap_or_default();
            parse_downward(&text)
        };
        Self { vars, labels: file("labels"), annotations: file("annotations") }
    }

    /// A variable that is set and not empty.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.vars.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// A variable or a default.
    pub fn get_or<'a>(&'a self, name: &str, default: &'a str) -> &'a str {
        self.get(name).unwrap_or(default)
    }

    /// A switch: `true`, `1`, `yes`, `on`.
    pub fn flag(&self, name: &str) -> Option<bool> {
        match self.get(name)?.to_ascii_lowercase().as_str() {
            "true" | "1" | "t" | "yes" | "on" => Some(true),
            "false" | "0" | "f" | "no" | "off" => Some(false),
            _ => None,
        }
    }
}

/// Reads the downward API's format: `key="value"`, a pair a line, values quoted as in Go.
pub fn parse_downward(text: &str) -> Pairs {
    text.lines()
        .filter_map(|line| {
            let (key, value) = line.split_once('=')?;
            Some((key.trim().to_owned(), unquote(value.trim())))
        })
        .collect()
}

fn unquote(value: &str) -> String {
    // Go's quoting of text is JSON's for everything but control characters, which JSON writes as \u00xx.
    serde_json::from_str(value).unwrap_or_else(|_| {
        let inner = value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value);
        inner.replace("\\n", "\n").replace("\\t", "\t").replace("\\\"", "\"").replace("\\\\", "\\")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn downward_files_are_read() {
        let text = "app=\"reviews\"\nversion=\"v1\"\nnote=\"a \\\"b\\\"\\nc=d\"\nbell=\"\\a\"\nbroken\n";
        let pairs = parse_downward(text);
        assert_eq!(pairs["app"], "reviews");
        assert_eq!(pairs["note"], "a \"b\"\nc=d");
        assert_eq!(pairs.len(), 4);
    }
}
