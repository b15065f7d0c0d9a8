//! Test harnesses that several crates share. Nothing shipped imports this crate.
