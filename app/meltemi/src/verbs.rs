//! One file a verb. Each has an `Args` (clap) and a `run`.

pub mod agent;
pub mod analyze;
pub mod completion;
pub mod discovery;
pub mod down;
pub mod envoy;
pub mod install;
pub mod kube_inject;
pub mod manifest;
pub mod profile;
pub mod proxy_config;
pub mod proxy_status;
pub mod status;
pub mod uninstall;
pub mod up;
pub mod validate;
pub mod version;
