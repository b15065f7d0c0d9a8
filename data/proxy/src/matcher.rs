//! Pure matching, compiled from Envoy's matcher messages: strings, regular expressions, headers, addresses, host names.

pub mod cidr;
pub mod domain;
pub mod fraction;
pub mod header;
pub mod query;
pub mod regex;
pub mod string;
