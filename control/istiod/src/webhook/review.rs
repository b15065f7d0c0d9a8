//! `AdmissionReview` of `admission.k8s.io/v1`, as far as we read and write it.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

/// The request inside a review.
pub struct Request {
    uid: String,
    /// `CREATE`, `UPDATE`, `DELETE` or `CONNECT`.
    pub operation: String,
    /// The object's namespace.
    pub namespace: String,
    /// The object; null for deletions.
    pub object: Value,
}

impl Request {
    /// Reads a review. What is not one is answered by HTTP 400, which the API server treats by its failure policy.
    pub fn read(body: &[u8]) -> Result<Self, Box<Response>> {
        let bad = |message: String| Box::new((StatusCode::BAD_REQUEST, message + "\n").into_response());
        let mut review: Value =
            serde_json::from_slice(body).map_err(|error| bad(format!("the body is not JSON: {error}")))?;
        if review.get("apiVersion").and_then(Value::as_str) != Some("admission.k8s.io/v1") {
            return Err(bad("expected an AdmissionReview of admission.k8s.io/v1".to_owned()));
        }
        let text = |field: &str| {
            let value = review.get("request").and_then(|request| request.get(field)?.as_str());
            value.unwrap_or_default().to_owned()
        };
        let (uid, operation, namespace) = (text("uid"), text("operation"), text("namespace"));
        if uid.is_empty() {
            return Err(bad("the AdmissionReview has no request.uid".to_owned()));
        }
        let object = review.pointer_mut("/request/object").map(Value::take).unwrap_or_default();
        Ok(Self { uid, operation, namespace, object })
    }

    /// The review that answers this request.
    pub fn answer(&self, verdict: Verdict) -> axum::Json<Value> {
        let mut response = json!({"uid": self.uid, "allowed": verdict.refusal.is_none()});
        if let Some(message) = verdict.refusal {
            response["status"] =
                json!({"status": "Failure", "code": 400, "reason": "BadRequest", "message": message});
        }
        if let Some(patch) = verdict.patch {
            response["patchType"] = json!("JSONPatch");
            response["patch"] = json!(STANDARD.encode(patch));
        }
        if !verdict.warnings.is_empty() {
            response["warnings"] = json!(verdict.warnings);
        }
        axum::Json(
            json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response}),
        )
    }
}

/// What we say about an object.
#[derive(Default)]
pub struct Verdict {
    /// Why it is refused.
    pub refusal: Option<String>,
    /// A JSON patch.
    pub patch: Option<Vec<u8>>,
    /// What `kubectl` shows to the user.
    pub warnings: Vec<String>,
}

impl Verdict {
    /// Refused for this reason.
    pub fn refuse(message: String) -> Self {
        Self { refusal: Some(message), ..Self::default() }
    }
}
