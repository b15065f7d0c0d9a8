//! What a proxy needs to start while the control plane is away: its last good configuration and its certificate, on disk.
//!
//! They lie in a volume that outlives the container but not the pod (`istio-data`), readable by us alone: among the resources
//! are keys. [`Stream`] follows one ADS stream and knows what the proxy has accepted, [`Keeper`] writes that down, and
//! [`stand_in`] serves it in the control plane's place. Whatever is not whole, not ours or no longer valid is not used.

mod config;
mod directory;
mod keeper;
mod stand_in;
mod stream;
mod workload;

pub use config::Config;
pub use directory::Directory;
pub use keeper::Keeper;
pub use stand_in::StandIn;
pub use stream::Stream;
pub(crate) use workload::{load as load_workload, save as save_workload};
