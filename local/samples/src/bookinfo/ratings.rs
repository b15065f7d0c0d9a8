//! `ratings`: stars by reviewer, kept in memory; and the faulty versions that tutorials deploy.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};

/// The most books that can have ratings of their own, so that a client cannot fill the memory.
const MOST_BOOKS: usize = 10_000;

type Posted = Arc<Mutex<HashMap<u64, Value>>>;

/// Serves until told to stop.
pub async fn run() -> anyhow::Result<()> {
    crate::serve::http(super::port(), router()).await
}

fn router() -> Router {
    Router::new()
        .route("/health", get(|| async { Json(json!({"status": "Ratings is healthy"})) }))
        .route("/ratings/{id}", get(read).post(write))
        .with_state(Posted::default())
}

async fn read(State(posted): State<Posted>, Path(id): Path<String>) -> Response {
    let Some(id) = number(&id) else { return not_numeric() };
    let ratings = posted.lock().ok().and_then(|posted| posted.get(&id).cloned());
    let ratings = ratings.unwrap_or_else(|| json!({"Reviewer1": 5, "Reviewer2": 4}));
    Json(json!({"id": id, "ratings": ratings})).into_response()
}

async fn write(State(posted): State<Posted>, Path(id): Path<String>, body: String) -> Response {
    let Some(id) = number(&id) else { return not_numeric() };
    let Ok(ratings @ Value::Object(_)) = serde_json::from_str::<Value>(&body) else {
        let error = json!({"error": "please provide valid ratings JSON"});
        return (StatusCode::BAD_REQUEST, Json(error)).into_response();
    };
    if let Ok(mut posted) = posted.lock() {
        if posted.len() >= MOST_BOOKS && !posted.contains_key(&id) {
            return (StatusCode::INSUFFICIENT_STORAGE, "too many books").into_response();
        }
        posted.insert(id, ratings.clone());
    }
    Json(json!({"id": id, "ratings": ratings})).into_response()
}

fn number(id: &str) -> Option<u64> {
    id.parse().ok()
}

fn not_numeric() -> Response {
    let error = json!({"error": "please provide numeric product ID"});
    (StatusCode::BAD_REQUEST, Json(error)).into_response()
}
