//! The local cluster: what `up` starts, where it keeps its things, and how the other verbs find it.

pub mod api;
pub mod daemon;
pub mod data_plane;
pub mod demo;
pub mod images;
pub mod place;
pub mod summary;
