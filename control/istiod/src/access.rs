//! Who may have the keys of gateways: whom the API server would let read the secrets of their namespace.

use std::collections::HashMap;
use std::time::Duration;

use k8s_openapi::api::authorization::v1::{ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec};
use kube::api::{Api, PostParams};
use meltemi_identity::SpiffeId;
use parking_lot::Mutex;
use tokio::time::Instant;

/// Tells what an account may do.
#[async_trait::async_trait]
pub trait ReviewAccess: Send + Sync + 'static {
    /// May the account list the secrets of its own namespace?
    ///
    /// # Errors
    /// When nobody can tell, and why.
    async fn may_list_secrets(&self, caller: &SpiffeId) -> Result<bool, String>;
}

/// Asks the API server, and remembers the answers for a while: replicas of a gateway come together.
pub struct KubeAccess {
    api: Api<SubjectAccessReview>,
    known: Mutex<HashMap<(String, String), (bool, Instant)>>,
}

/// So long a Role that was just granted or taken away may go unnoticed.
const REMEMBER: Duration = Duration::from_secs(30);

impl KubeAccess {
    /// Asks through `client`.
    pub fn new(client: kube::Client) -> Self {
        Self { api: Api::all(client), known: Mutex::default() }
    }

    fn remembered(&self, key: &(String, String)) -> Option<bool> {
        let mut known = self.known.lock();
        let now = Instant::now();
        known.retain(|_, (_, until)| *until > now);
        known.get(key).map(|(allowed, _)| *allowed)
    }
}

#[async_trait::async_trait]
impl ReviewAccess for KubeAccess {
    async fn may_list_secrets(&self, caller: &SpiffeId) -> Result<bool, String> {
        let key = (caller.namespace.clone(), caller.service_account.clone());
        if let Some(allowed) = self.remembered(&key) {
            return Ok(allowed);
        }
        let answer = self.api.create(&PostParams::default(), &question(caller)).await;
        let status = answer.map_err(|error| error.to_string())?.status.unwrap_or_default();
        let allowed = status.allowed && status.denied != Some(true);
        self.known.lock().insert(key, (allowed, Instant::now() + REMEMBER));
        Ok(allowed)
    }
}

fn question(caller: &SpiffeId) -> SubjectAccessReview {
    let SpiffeId { namespace, service_account, .. } = caller;
    let secrets = ResourceAttributes {
        namespace: Some(namespace.clone()),
        verb: Some("list".to_owned()),
        resource: Some("secrets".to_owned()),
        ..ResourceAttributes::default()
    };
    let groups =
        ["system:serviceaccounts", &format!("system:serviceaccounts:{namespace}"), "system:authenticated"];
    let spec = SubjectAccessReviewSpec {
        user: Some(format!("system:serviceaccount:{namespace}:{service_account}")),
        groups: Some(groups.map(str::to_owned).to_vec()),
        resource_attributes: Some(secrets),
        ..SubjectAccessReviewSpec::default()
    };
    SubjectAccessReview { spec, ..SubjectAccessReview::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_account_that_is_asked_about_as_the_api_server_knows_it() {
        let caller = SpiffeId::new("cluster.local", "edge", "gw").expect("an identity");
        let asked = serde_json::to_value(question(&caller)).expect("JSON");
        assert_eq!(asked["spec"]["user"], "system:serviceaccount:edge:gw");
        assert_eq!(asked["spec"]["groups"][1], "system:serviceaccounts:edge");
        assert_eq!(
            asked["spec"]["resourceAttributes"],
            serde_json::json!({"namespace": "edge", "verb": "list", "resource": "secrets"})
        );
    }
}
