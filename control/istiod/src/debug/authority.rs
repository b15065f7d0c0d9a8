//! Who may look: callers on this machine, and service accounts of the control plane's namespace.

use std::net::SocketAddr;

use axum::extract::{ConnectInfo, Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::Debug;
use crate::token::{PROXY_AUDIENCE, TokenError};

pub async fn check(State(debug): State<Debug>, request: Request, next: Next) -> Response {
    let remote = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(remote)| remote.ip());
    if remote.is_some_and(|ip| ip.to_canonical().is_loopback()) {
        return next.run(request).await;
    }
    let authorization = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let token = authorization.and_then(|value| value.strip_prefix("Bearer ")).map(str::to_owned);
    match token {
        None => {
            refuse(StatusCode::UNAUTHORIZED, "ask from this machine (kubectl port-forward) or show a token")
        }
        Some(token) => match debug.allows(&token).await {
            Ok(()) => next.run(request).await,
            Err((status, message)) => refuse(status, &message),
        },
    }
}

fn refuse(status: StatusCode, message: &str) -> Response {
    (status, format!("{message}\n")).into_response()
}

impl Debug {
    async fn allows(&self, token: &str) -> Result<(), (StatusCode, String)> {
        // A proxy's token, or one for the API server as people have it.
        let account = match self.tokens.review(token, &[PROXY_AUDIENCE]).await {
            Err(TokenError::Refused(_)) => self.tokens.review(token, &[]).await,
            other => other,
        };
        match account {
            Ok(account) if *account.namespace == *self.namespace => Ok(()),
            Ok(account) => {
                let ours = &self.namespace;
                let message =
                    format!("accounts of namespace {} may not ask, only those of {ours}", account.namespace);
                Err((StatusCode::FORBIDDEN, message))
            }
            Err(error @ TokenError::Refused(_)) => Err((StatusCode::UNAUTHORIZED, error.to_string())),
            Err(error) => Err((StatusCode::SERVICE_UNAVAILABLE, error.to_string())),
        }
    }
}
