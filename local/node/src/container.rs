//! Containers: processes in namespaces, started by a hidden sub-command of our own binary.
//!
//! The daemon starts `/proc/self/exe __container` and sends it a [`spec::Order`] with the descriptors it needs. That helper
//! has a single thread, so it may fork: it makes the namespaces, forks the container's init as a child *of the daemon*,
//! reports its process id and ends. The init mounts the root, starts the program, reaps orphans and passes signals on.

mod exec;
mod helper;
mod init;
pub mod log;
pub(crate) mod place;
mod root;
pub mod runtime;
pub mod spec;

pub use helper::container_main;

/// The hidden first argument of the helper.
pub const HIDDEN: &str = "__container";
