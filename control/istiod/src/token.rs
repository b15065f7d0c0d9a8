//! Service-account tokens, checked by the API server's TokenReview.

use std::collections::HashMap;
use std::time::Duration;

use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec, TokenReviewStatus};
use kube::api::{Api, PostParams};
use parking_lot::Mutex;
use tokio::time::Instant;

/// Audience of the tokens that proxies show to istiod.
pub const PROXY_AUDIENCE: &str = "istio-ca";

/// A service account.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ServiceAccount {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl ServiceAccount {
    /// Reads `system:serviceaccount:NAMESPACE:NAME`.
    pub fn of_username(username: &str) -> Option<Self> {
        let (namespace, name) = username.strip_prefix("system:serviceaccount:")?.split_once(':')?;
        let sound = !namespace.is_empty() && !name.is_empty() && !name.contains(':');
        sound.then(|| Self { namespace: namespace.to_owned(), name: name.to_owned() })
    }
}

/// Why a token proves nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// The token is wrong; trying again is no use.
    #[error("the token was refused: {0}")]
    Refused(String),
    /// The API server could not be asked.
    #[error("the token could not be checked: {0}")]
    Unavailable(String),
}

/// Tells whose token it is.
#[async_trait::async_trait]
pub trait ReviewTokens: Send + Sync + 'static {
    /// The account that `token` was given to, if it is valid for one of `audiences` (empty: the API server's own).
    async fn review(&self, token: &str, audiences: &[&str]) -> Result<ServiceAccount, TokenError>;
}

/// Asks the API server, and remembers good answers for a moment: a starting proxy shows its token twice.
pub struct KubeTokens {
    api: Api<TokenReview>,
    known: Mutex<HashMap<(String, String), (ServiceAccount, Instant)>>,
}

/// As long as the API server itself remembers.
const REMEMBER: Duration = Duration::from_secs(10);
/// A token is about 1 KB; nobody has one of 16.
const MAX_TOKEN: usize = 16 << 10;

impl KubeTokens {
    /// Reviews through `client`.
    pub fn new(client: kube::Client) -> Self {
        Self { api: Api::all(client), known: Mutex::default() }
    }

    fn remembered(&self, key: &(String, String)) -> Option<ServiceAccount> {
        let mut known = self.known.lock();
        let now = Instant::now();
        known.retain(|_, (_, until)| *until > now);
        known.get(key).map(|(account, _)| account.clone())
    }
}

#[async_trait::async_trait]
impl ReviewTokens for KubeTokens {
    async fn review(&self, token: &str, audiences: &[&str]) -> Result<ServiceAccount, TokenError> {
        if token.is_empty() || token.len() > MAX_TOKEN {
            return Err(TokenError::Refused(format!("{} bytes is no token's length", token.len())));
        }
        let key = (audiences.join(","), token.to_owned());
        if let Some(account) = self.remembered(&key) {
            return Ok(account);
        }
        let wanted = (!audiences.is_empty()).then(|| audiences.iter().map(|a| (*a).to_owned()).collect());
        let spec = TokenReviewSpec { token: token.to_owned(), audiences: wanted };
        let review = TokenReview { spec, ..TokenReview::default() };
        let answer = self.api.create(&PostParams::default(), &review).await;
        let status =
            answer.map_err(|error| TokenError::Unavailable(error.to_string()))?.status.unwrap_or_default();
        let account = account_of(&status, audiences)?;
        self.known.lock().insert(key, (account.clone(), Instant::now() + REMEMBER));
        Ok(account)
    }
}

fn account_of(status: &TokenReviewStatus, audiences: &[&str]) -> Result<ServiceAccount, TokenError> {
    let refused = |why: &str| Err(TokenError::Refused(why.to_owned()));
    if status.authenticated != Some(true) {
        return refused(status.error.as_deref().unwrap_or("it is not valid for this cluster"));
    }
    // A server that knows no audiences answers with none, and then the token proves nothing about them.
    let confirmed = status.audiences.iter().flatten().any(|audience| audiences.contains(&audience.as_str()));
    if !audiences.is_empty() && !confirmed {
        return refused(&format!("it is not for the audience {}", audiences.join(" or ")));
    }
    let username = status.user.as_ref().and_then(|user| user.username.as_deref()).unwrap_or_default();
    match ServiceAccount::of_username(username) {
        Some(account) => Ok(account),
        None => refused("it does not belong to a service account"),
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::authentication::v1::UserInfo;

    use super::*;

    fn status(username: &str, audiences: &[&str]) -> TokenReviewStatus {
        TokenReviewStatus {
            authenticated: Some(true),
            audiences: Some(audiences.iter().map(|a| (*a).to_owned()).collect()),
            user: Some(UserInfo { username: Some(username.to_owned()), ..UserInfo::default() }),
            ..TokenReviewStatus::default()
        }
    }

    #[test]
    fn only_a_service_accounts_token_of_the_right_audience_counts() {
        let good = account_of(&status("system:serviceaccount:default:reviews", &["istio-ca"]), &["istio-ca"]);
        assert_eq!(good, Ok(ServiceAccount { namespace: "default".to_owned(), name: "reviews".to_owned() }));
        let bad = [
            status("system:serviceaccount:default:reviews", &["api"]),
            status("system:admin", &["istio-ca"]),
            status("system:serviceaccount:default:a:b", &["istio-ca"]),
            TokenReviewStatus {
                authenticated: Some(false),
                ..status("system:serviceaccount:a:b", &["istio-ca"])
            },
        ];
        for status in bad {
            assert!(matches!(account_of(&status, &["istio-ca"]), Err(TokenError::Refused(_))), "{status:?}");
        }
    }
}
