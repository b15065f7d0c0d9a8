//! Traffic capture: `istio-iptables`, which makes a pod's connections pass through the proxy.
//!
//! Options → [`Plan`] (pure) → text for `iptables-restore` or `nft` (pure) → applied. A second run first takes away
//! what the first one wrote, in the same transaction, so there is never a moment without capture.

mod apply;
mod args;
mod backend;
mod layout;
mod nft;
mod options;
mod plan;
mod probe;
mod restore;
mod rule;

pub use apply::{CaptureError, run};
pub use args::{CaptureArgs, from_environment};
pub use layout::plan;
pub use nft::script;
pub use options::{Bypass, Interception, Options, OptionsError, Owners, Resolvers, Selection, Surroundings};
pub use plan::Plan;
pub use restore::{cleanup, restore};
pub use rule::{Action, Chain, Family, Match, Rule, Table};

#[cfg(test)]
mod tests;
