//! `details`: facts about a book.

use axum::extract::Path;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::json;

/// Serves until told to stop.
pub async fn run() -> anyhow::Result<()> {
    crate::serve::http(super::port(), router()).await
}

fn router() -> Router {
    Router::new()
        .route("/health", get(|| async { Json(json!({"status": "Details is healthy"})) }))
        .route("/details/{id}", get(details))
}

async fn details(Path(id): Path<String>) -> Response {
    match leading_number(&id) {
        Some(id) => Json(book(id)).into_response(),
        None => {
            let error = json!({"error": "please provide numeric product id"});
            (StatusCode::BAD_REQUEST, Json(error)).into_response()
        }
    }
}

fn leading_number(text: &str) -> Option<i64> {
    text.parse().ok()
}

fn book(id: i64) -> serde_json::Value {
    json!({
        "id": id,
        "author": "William Shakespeare",
        "year": 1595,
        "type": "paperback",
        "pages": 200,
        "publisher": "PublisherA",
        "language": "English",
        "ISBN-10": "1234567890",
        "ISBN-13": "123-1234567890",
    })
}
