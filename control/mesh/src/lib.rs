//! World (indexes, one owner) to Snapshot (immutable), ProxyView, and impact (which change touches which proxy).
