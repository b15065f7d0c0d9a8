//! Two macros that give every message and enumeration of the API the same shape, so that a field is written once.

/// Whether a field holds its default and need not be written out.
pub(crate) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// Declares messages: camelCase on the wire, every field optional, defaults not written out.
macro_rules! message {
    ($(
        $(#[$attr:meta])*
        pub struct $name:ident {
            $( $(#[$fattr:meta])* pub $field:ident : $type:ty ),* $(,)?
        }
    )*) => {$(
        #[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
        #[serde(rename_all = "camelCase", default)]
        $(#[$attr])*
        pub struct $name {
            $(
                #[serde(skip_serializing_if = "crate::message::is_default")]
                $(#[$fattr])*
                pub $field: $type,
            )*
        }
    )*};
}

/// Declares enumerations in the order of their proto numbers, SCREAMING_SNAKE_CASE on the wire. The first or the
/// variant marked `#[default]` is what an absent field means.
macro_rules! enumeration {
    ($(
        $(#[$attr:meta])*
        pub enum $name:ident {
            $( $(#[$vattr:meta])* $variant:ident ),* $(,)?
        }
    )*) => {$(
        #[derive(
            Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord,
            serde::Serialize, serde::Deserialize, schemars::JsonSchema,
        )]
        #[serde(rename_all = "SCREAMING_SNAKE_CASE")]
        $(#[$attr])*
        pub enum $name {
            $( $(#[$vattr])* $variant, )*
        }
    )*};
}

/// Declares settings whose defaults are not zero: like `message!`, but `Default` is written by hand and every field
/// is written out.
macro_rules! settings {
    ($(
        $(#[$attr:meta])*
        pub struct $name:ident {
            $( $(#[$fattr:meta])* pub $field:ident : $type:ty ),* $(,)?
        }
    )*) => {$(
        #[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
        #[serde(rename_all = "camelCase", default)]
        $(#[$attr])*
        pub struct $name {
            $( $(#[$fattr])* pub $field: $type, )*
        }
    )*};
}
