//! One file a verb. Each has an `Args` (clap) and a `run`.

pub mod agent;
pub mod completion;
pub mod discovery;
pub mod down;
pub mod install;
pub mod manifest;
pub mod profile;
pub mod status;
pub mod uninstall;
pub mod up;
pub mod version;
