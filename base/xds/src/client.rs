//! The consuming side: a machine that knows what we hold and want, and the loop that keeps it connected.

mod backoff;
mod connect;
mod intake;
mod machine;
mod run;
mod state;

pub use backoff::Backoff;
pub use connect::{Connection, Connector, Io};
pub use machine::{Client, Request, Response};
pub use run::{ClientOptions, Service, SubscriptionChange, run};

use std::sync::Arc;

use crate::{Resource, Subscription};

/// A response, told as changes.
#[derive(Clone, Debug, PartialEq)]
pub struct Update {
    /// Type of all resources in it.
    pub type_url: &'static str,
    /// New or changed resources.
    pub upserts: Vec<Resource>,
    /// Names that are no longer there.
    pub removed: Vec<Arc<str>>,
}

/// What became of an update.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Applied {
    /// Resources that were refused and why; their last good version stays in force. Not empty means NACK.
    pub rejected: Vec<(Arc<str>, String)>,
    /// Subscriptions that follow from the update: a new cluster wants its endpoints.
    pub subscribe: Vec<(&'static str, Subscription)>,
}

impl Applied {
    /// All of it is in force and nothing else is wanted.
    pub fn ok() -> Self {
        Self::default()
    }
}

/// Takes updates in.
pub trait Apply {
    /// Makes an update effective, as far as it is valid.
    fn apply(&mut self, update: Update) -> Applied;

    /// The stream is up, or lost. What was applied stays in force in either case.
    fn connected(&mut self, up: bool) {
        let _ = up;
    }
}
