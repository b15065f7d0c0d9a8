//! Traffic capture: `istio-iptables`, which makes a pod's connections pass through the proxy.
//!
//! Options → [`plan::Plan`] (pure) → text for `iptables-restore` (pure) → applied. A second run first takes away
//! what the first one wrote, in the same transaction, so there is never a moment without capture.

mod apply;
mod args;
mod layout;
mod plan;
mod restore;
mod rule;

pub use apply::{CaptureError, run};
pub use args::CaptureArgs;
pub use layout::plan;
pub use plan::{Bypass, Interception, Options, OptionsError, Plan, Selection};
pub use restore::{cleanup, restore, undo};
pub use rule::{Family, Match, Rule, Table};

#[cfg(test)]
mod tests;
