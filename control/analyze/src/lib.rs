//! Cross-object diagnostics with stable codes, file and line, cause and cure.
