//! Types of everything users write, CRDs made from them, single-object validation, YAML with positions.
