//! How VirtualServices compare texts.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

message! {
    /// The wire form of `StringMatch`.
    #[schemars(extend("x-oneof" = [["exact", "prefix", "regex"]]))]
    pub struct StringMatchFields {
        pub exact: Option<String>,
        pub prefix: Option<String>,
        /// RE2 syntax; must match the whole value.
        pub regex: Option<String>,
    }
}

/// How a text is compared.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "StringMatchFields", into = "StringMatchFields")]
pub enum StringMatch {
    /// `{}`: any value, so long as there is one.
    #[default]
    Any,
    /// Equal.
    Exact(String),
    /// Begins with.
    Prefix(String),
    /// The whole value matches a regular expression (RE2).
    Regex(String),
}

impl From<StringMatchFields> for StringMatch {
    fn from(fields: StringMatchFields) -> Self {
        match fields {
            StringMatchFields { exact: Some(text), .. } => Self::Exact(text),
            StringMatchFields { prefix: Some(text), .. } => Self::Prefix(text),
            StringMatchFields { regex: Some(text), .. } => Self::Regex(text),
            _ => Self::Any,
        }
    }
}

impl From<StringMatch> for StringMatchFields {
    fn from(value: StringMatch) -> Self {
        let mut fields = Self::default();
        match value {
            StringMatch::Any => {}
            StringMatch::Exact(text) => fields.exact = Some(text),
            StringMatch::Prefix(text) => fields.prefix = Some(text),
            StringMatch::Regex(text) => fields.regex = Some(text),
        }
        fields
    }
}

impl JsonSchema for StringMatch {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "StringMatch".into()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        StringMatchFields::json_schema(generator)
    }
}
