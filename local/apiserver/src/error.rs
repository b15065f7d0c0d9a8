//! API errors as Kubernetes words them: the `Status` object and the field errors of an invalid object.

mod field;

pub use field::FieldError;

use http::StatusCode;
use serde_json::{Value, json};

/// The result of handling a request.
pub type Result<T, E = ApiError> = std::result::Result<T, E>;

/// A failed request: everything a `Status` object says.
#[derive(Debug, Clone, PartialEq)]
pub struct ApiError {
    /// The HTTP status code.
    pub code: StatusCode,
    /// The machine-readable reason, e.g. `NotFound`.
    pub reason: &'static str,
    /// The sentence for the user.
    pub message: String,
    /// `details` of the Status, if any.
    pub details: Option<Box<Value>>,
    /// `metadata.continue` of the Status: where an expired list may go on.
    pub continue_token: Option<Box<str>>,
}

impl std::fmt::Display for ApiError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for ApiError {}

impl ApiError {
    fn new(code: StatusCode, reason: &'static str, message: impl Into<String>) -> Self {
        ApiError { code, reason, message: message.into(), details: None, continue_token: None }
    }

    fn with(mut self, details: Value) -> Self {
        self.details = Some(Box::new(details));
        self
    }

    /// 400: the request cannot be understood.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "BadRequest", message)
    }

    /// 401: who are you?
    pub fn unauthorized() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "Unauthorized", "Unauthorized")
    }

    /// 403: known, but not allowed.
    pub fn forbidden(resource: &str, name: &str, message: impl std::fmt::Display) -> Self {
        let head = if name.is_empty() {
            format!("{resource} is forbidden: {message}")
        } else {
            format!("{resource} {name:?} is forbidden: {message}")
        };
        let (kind, group) = split_resource(resource);
        Self::new(StatusCode::FORBIDDEN, "Forbidden", head).with(named(name, group, kind))
    }

    /// 404 for an object. `resource` is `plural.group`.
    pub fn not_found(resource: &str, name: &str) -> Self {
        let (kind, group) = split_resource(resource);
        Self::new(StatusCode::NOT_FOUND, "NotFound", format!("{resource} {name:?} not found"))
            .with(named(name, group, kind))
    }

    /// 404 for a path or kind that this server does not have.
    pub fn no_such_path() -> Self {
        Self::new(StatusCode::NOT_FOUND, "NotFound", "the server could not find the requested resource")
            .with(json!({}))
    }

    /// 404 with a message of its own.
    pub fn not_found_because(message: impl Into<String>) -> Self {
        // Details without a name: kubectl reads them without looking whether they are there.
        Self::new(StatusCode::NOT_FOUND, "NotFound", message).with(json!({}))
    }

    /// 405: the resource exists, the verb does not.
    pub fn method_not_allowed() -> Self {
        Self::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "MethodNotAllowed",
            "the server does not allow this method on the requested resource",
        )
        .with(json!({}))
    }

    /// 406: none of the accepted media types can be produced.
    pub fn not_acceptable(offered: &str) -> Self {
        Self::new(
            StatusCode::NOT_ACCEPTABLE,
            "NotAcceptable",
            format!("only the following media types are accepted: {offered}"),
        )
    }

    /// 409 on creation.
    pub fn already_exists(resource: &str, name: &str) -> Self {
        let (kind, group) = split_resource(resource);
        Self::new(StatusCode::CONFLICT, "AlreadyExists", format!("{resource} {name:?} already exists"))
            .with(named(name, group, kind))
    }

    /// 409 on update, with Kubernetes' words around the cause.
    pub fn conflict(resource: &str, name: &str, cause: impl std::fmt::Display) -> Self {
        let (kind, group) = split_resource(resource);
        Self::new(
            StatusCode::CONFLICT,
            "Conflict",
            format!("Operation cannot be fulfilled on {resource} {name:?}: {cause}"),
        )
        .with(named(name, group, kind))
    }

    /// 409: the object changed under the writer's hands.
    pub fn stale(resource: &str, name: &str) -> Self {
        Self::conflict(
            resource,
            name,
            "the object has been modified; please apply your changes to the latest version and try again",
        )
    }

    /// 409 of server-side apply: fields that others own.
    pub fn apply_conflict(message: String, causes: Vec<Value>) -> Self {
        Self::new(StatusCode::CONFLICT, "Conflict", message).with(json!({ "causes": causes }))
    }

    /// 500, as Kubernetes has it: a configuration that cannot be merged, since its list items cannot be told apart.
    pub fn untyped(named: &str, cause: &str) -> Self {
        let text = format!("failed to create typed patch object ({named}): {cause}");
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "", text)
    }

    /// 410: the resource version or continue token is too old.
    pub fn expired(message: impl Into<String>) -> Self {
        Self::new(StatusCode::GONE, "Expired", message)
    }

    /// 410 for a page whose list is no longer known; `token` goes on with the objects as they are now.
    pub fn expired_continue(token: String) -> Self {
        let mut error = Self::expired(
            "The provided continue parameter is too old to display a consistent list result. Start a new list without \
             it, or go on with the continue token of this response: the rest is then listed as it is now, not as it was \
             when the list began.",
        );
        error.continue_token = Some(token.into());
        error
    }

    /// 413: the body is larger than the limit.
    pub fn too_large(limit: usize) -> Self {
        Self::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "RequestEntityTooLarge",
            format!("Request entity too large: limit is {limit}"),
        )
    }

    /// 415: a body type that is not understood.
    pub fn unsupported_media_type(accepted: &str) -> Self {
        Self::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "UnsupportedMediaType",
            format!(
                "the body of the request was in an unknown format - accepted media types include: {accepted}"
            ),
        )
    }

    /// 422: the object breaks validation. `kind` and `group` name the kind, `name` the object.
    pub fn invalid(kind: &str, group: &str, name: &str, errors: &[FieldError]) -> Self {
        let text: Vec<String> = errors.iter().map(ToString::to_string).collect();
        let text = if text.len() == 1 { text.concat() } else { format!("[{}]", text.join(", ")) };
        let qualified = if group.is_empty() { kind.to_owned() } else { format!("{kind}.{group}") };
        let causes: Vec<Value> = errors
            .iter()
            .map(|e| json!({"reason": e.reason, "message": e.message, "field": e.field}))
            .collect();
        let mut details = named(name, group, kind);
        details["causes"] = Value::Array(causes);
        Self::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "Invalid",
            format!("{qualified} {name:?} is invalid: {text}"),
        )
        .with(details)
    }

    /// 429: not now; the caller may try again after the given seconds.
    pub fn too_many_requests(message: impl Into<String>, retry_seconds: u32) -> Self {
        Self::new(StatusCode::TOO_MANY_REQUESTS, "TooManyRequests", message)
            .with(json!({ "retryAfterSeconds": retry_seconds }))
    }

    /// 500.
    pub fn internal(message: impl std::fmt::Display) -> Self {
        let text = format!("Internal error occurred: {message}");
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "InternalError", text)
            .with(json!({"causes": [{"message": message.to_string()}]}))
    }

    /// 503: the server cannot do this at present.
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable", message)
    }

    /// An error whose code, reason and message come from elsewhere (a webhook's answer).
    pub fn custom(code: StatusCode, reason: &'static str, message: impl Into<String>) -> Self {
        Self::new(code, reason, message)
    }

    /// The `Status` object.
    pub fn to_status(&self) -> Value {
        let mut status = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": self.message, "reason": self.reason,
        });
        if let Some(details) = &self.details {
            status["details"] = (**details).clone();
        }
        if let Some(token) = &self.continue_token {
            status["metadata"] = json!({ "continue": token });
        }
        status["code"] = json!(self.code.as_u16());
        status
    }
}

fn named(name: &str, group: &str, kind: &str) -> Value {
    let mut details = serde_json::Map::new();
    for (key, value) in [("name", name), ("group", group), ("kind", kind)] {
        if !value.is_empty() {
            details.insert(key.to_owned(), Value::from(value));
        }
    }
    Value::Object(details)
}

fn split_resource(resource: &str) -> (&str, &str) {
    resource.split_once('.').unwrap_or((resource, ""))
}
