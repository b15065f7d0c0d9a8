//! Counters, gauges and histograms under Envoy's names.
//!
//! A [`Group`] holds the statistics of one thing (a cluster, a listener, …). Its handles are resolved when that thing is compiled; a
//! worker then writes only cells of its own, and a reader adds up the cells of all workers. A group disappears with the last `Arc`.
//! Use [`stat_group!`](crate::stat_group) for names known at compile time and [`Registry::counter`] and its kin for others.

pub mod cells;
pub mod group;
pub mod histogram;
pub mod registry;
pub mod render;
pub mod settings;
pub mod tables;
pub mod tags;

pub use cells::enter_worker;
pub use group::{Counter, Gauge, Group, Histogram, OwnedCounter, OwnedGauge, OwnedHistogram, Value};
pub use registry::{Registry, Settings};
