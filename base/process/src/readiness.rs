//! Is this role ready, and if not, what is missing?

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::watch;

/// Named conditions that must all hold.
#[derive(Clone, Debug)]
pub struct Readiness(Arc<watch::Sender<BTreeMap<String, Option<String>>>>);

/// One condition. It starts as not ready.
#[derive(Clone, Debug)]
pub struct Condition {
    name: String,
    all: Readiness,
}

impl Default for Readiness {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(BTreeMap::new())))
    }
}

impl Readiness {
    /// Without conditions: ready.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a condition, which does not hold yet.
    pub fn condition(&self, name: impl Into<String>) -> Condition {
        let condition = Condition { name: name.into(), all: self.clone() };
        condition.not_ready("not started");
        condition
    }

    /// Do all conditions hold?
    pub fn is_ready(&self) -> bool {
        self.0.borrow().values().all(Option::is_none)
    }

    /// What is missing: `name: reason`, empty when ready.
    pub fn missing(&self) -> Vec<String> {
        let conditions = self.0.borrow();
        conditions.iter().filter_map(|(name, reason)| Some(format!("{name}: {}", reason.as_ref()?))).collect()
    }

    /// Waits until all conditions hold.
    pub async fn wait(&self) {
        let mut conditions = self.0.subscribe();
        // The sender lives in `self`, so waiting cannot fail.
        let _ = conditions.wait_for(|conditions| conditions.values().all(Option::is_none)).await;
    }
}

impl Condition {
    /// It holds.
    pub fn ready(&self) {
        self.set(None);
    }

    /// It does not hold, for this reason.
    pub fn not_ready(&self, reason: impl Into<String>) {
        self.set(Some(reason.into()));
    }

    fn set(&self, reason: Option<String>) {
        self.all.0.send_if_modified(|conditions| {
            let changed = conditions.get(&self.name) != Some(&reason);
            if changed {
                conditions.insert(self.name.clone(), reason);
            }
            changed
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn all_conditions_must_hold() {
        let readiness = Readiness::new();
        assert!(readiness.is_ready());
        let (xds, certificate) = (readiness.condition("xds"), readiness.condition("certificate"));
        xds.ready();
        certificate.not_ready("the authority does not answer");
        assert_eq!(readiness.missing(), ["certificate: the authority does not answer"]);
        certificate.ready();
        readiness.wait().await;
        xds.not_ready("stream lost");
        assert!(!readiness.is_ready());
    }
}
