//! Requests that are answered and not stored: token and access reviews, and `serviceaccounts/token`.

use super::write::plain;
use super::{Answer, Call};
use crate::auth::User;
use crate::auth::rbac::{self, Attributes};
use crate::auth::token::{Claims, ISSUER};
use crate::error::{ApiError, FieldError, Result};
use crate::object::{int, list, text, uid};
use crate::store::key;
use bytes::Bytes;
use http::StatusCode;
use serde_json::{Value, json};

/// POST of a review.
pub fn handle(call: &Call, body: &Bytes) -> Result<Answer> {
    if call.verb != "create" {
        return Err(ApiError::method_not_allowed());
    }
    let mut review = plain(&call.headers, body)?;
    let status = match call.resource.plural.as_str() {
        "tokenreviews" => token_review(call, &review),
        "selfsubjectreviews" => json!({"userInfo": call.user.info()}),
        "selfsubjectaccessreviews" => access(call, &call.user, &review),
        "subjectaccessreviews" | "localsubjectaccessreviews" => access(call, &subject(&review), &review),
        "selfsubjectrulesreviews" => rules(call, &review),
        "bindings" => return Err(ApiError::not_found_because("create bindings through pods/NAME/binding")),
        _ => return Err(ApiError::method_not_allowed()),
    };
    let map = crate::object::as_map(&mut review);
    map.insert("kind".into(), call.resource.kind.clone().into());
    map.insert("apiVersion".into(), call.resource.api_version().into());
    map.insert("metadata".into(), json!({ "creationTimestamp": null }));
    map.insert("status".into(), status);
    Ok(Answer::json(StatusCode::CREATED, &review))
}

fn token_review(call: &Call, review: &Value) -> Value {
    let wanted: Vec<String> =
        list(review, "/spec/audiences").iter().filter_map(Value::as_str).map(str::to_owned).collect();
    match call.core.tokens.authenticate(&call.core.store, text(review, "/spec/token"), &wanted) {
        Some(accepted) => {
            json!({"authenticated": true, "user": accepted.user.info(), "audiences": accepted.audiences})
        }
        None => {
            json!({"user": {}, "error": "invalid bearer token, or the account or pod it belongs to is gone"})
        }
    }
}

fn subject(review: &Value) -> User {
    let groups = list(review, "/spec/groups").iter().filter_map(Value::as_str).map(str::to_owned).collect();
    User {
        name: text(review, "/spec/user").into(),
        uid: text(review, "/spec/uid").into(),
        groups,
        extra: Vec::new(),
    }
}

fn access(call: &Call, user: &User, review: &Value) -> Value {
    let at = |field: &str| text(review, &format!("/spec/resourceAttributes/{field}"));
    let path = text(review, "/spec/nonResourceAttributes/path");
    let wanted = if path.is_empty() {
        Attributes {
            verb: at("verb"),
            group: at("group"),
            resource: at("resource"),
            subresource: at("subresource"),
            namespace: at("namespace"),
            name: at("name"),
            path: "",
        }
    } else {
        Attributes { verb: text(review, "/spec/nonResourceAttributes/verb"), path, ..Attributes::default() }
    };
    let allowed = rbac::allowed(&call.core.store, user, &wanted);
    let mut status = json!({ "allowed": allowed });
    if allowed && user.is_admin() {
        status["reason"] = json!("the cluster administrator may do everything");
    }
    status
}

fn rules(call: &Call, review: &Value) -> Value {
    let mut all = rbac::rules_for(&call.core.store, &call.user, text(review, "/spec/namespace"));
    if call.user.is_admin() {
        all.push(json!({"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}));
        all.push(json!({"verbs": ["*"], "nonResourceURLs": ["*"]}));
    }
    let (paths, resources): (Vec<Value>, Vec<Value>) =
        all.into_iter().partition(|r| r.get("nonResourceURLs").is_some());
    json!({"resourceRules": resources, "nonResourceRules": paths, "incomplete": false})
}

/// POST to `serviceaccounts/NAME/token`.
pub fn token_request(call: &Call, body: &Bytes) -> Result<Answer> {
    let mut request = plain(&call.headers, body)?;
    let store = &call.core.store;
    let account = store.get("/serviceaccounts", &call.key()).ok_or_else(|| call.not_found())?;
    let invalid =
        |error| ApiError::invalid("TokenRequest", "authentication.k8s.io", &call.path.name, &[error]);
    let seconds = int(&request, "/spec/expirationSeconds").unwrap_or(3600);
    if seconds < 600 {
        let error = FieldError::invalid(
            "spec.expirationSeconds",
            &json!(seconds),
            "may not specify a duration less than 10 minutes",
        );
        return Err(invalid(error));
    }
    if seconds > i64::from(u32::MAX) {
        let error = FieldError::invalid(
            "spec.expirationSeconds",
            &json!(seconds),
            "may not specify a duration larger than 2^32 seconds",
        );
        return Err(invalid(error));
    }
    let mut audiences: Vec<String> =
        list(&request, "/spec/audiences").iter().filter_map(Value::as_str).map(str::to_owned).collect();
    if audiences.is_empty() {
        audiences.push(ISSUER.to_owned());
    }
    let bound = text(&request, "/spec/boundObjectRef/name").to_owned();
    let pod = match text(&request, "/spec/boundObjectRef/kind") {
        "Pod" => {
            let pod = store.get("/pods", &key(&call.path.namespace, &bound));
            Some(pod.ok_or_else(|| ApiError::not_found("pods", &bound))?)
        }
        "" => None,
        other => {
            let error = FieldError::not_supported("spec.boundObjectRef.kind", &other.into(), &["Pod"]);
            return Err(invalid(error));
        }
    };
    let node = pod.as_ref().map(|p| text(&p.value, "/spec/nodeName").to_owned()).unwrap_or_default();
    let claims = Claims {
        namespace: &call.path.namespace,
        account: &call.path.name,
        account_uid: uid(&account.value),
        audiences: audiences.clone(),
        seconds,
        pod: pod.as_ref().map(|p| (bound.as_str(), uid(&p.value), node.as_str())),
    };
    let (token, expires) = call.core.tokens.issue(&claims).map_err(ApiError::internal)?;
    let expires = jiff::Timestamp::from_second(expires).map_err(ApiError::internal)?;
    let map = crate::object::as_map(&mut request);
    map.insert("kind".into(), "TokenRequest".into());
    map.insert("apiVersion".into(), "authentication.k8s.io/v1".into());
    map.insert("metadata".into(), json!({"name": call.path.name, "namespace": call.path.namespace, "creationTimestamp": crate::object::now()}));
    crate::object::child(&mut request, "spec").insert("audiences".into(), json!(audiences));
    crate::object::child(&mut request, "spec").insert("expirationSeconds".into(), json!(seconds));
    let status =
        json!({"token": token, "expirationTimestamp": expires.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()});
    crate::object::as_map(&mut request).insert("status".into(), status);
    Ok(Answer::json(StatusCode::CREATED, &request))
}
