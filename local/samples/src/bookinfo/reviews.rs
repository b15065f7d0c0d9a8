//! `reviews`: two reviews, without stars (v1), with black stars (v2) or with red ones (v3).

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};

use crate::call::{Target, get as call, passed_on};
use crate::serve::env;

const TEXTS: [&str; 2] = [
    "An extremely entertaining play by Shakespeare. The slapstick humour is refreshing!",
    "Absolutely fun and entertaining. The play lacks thematic depth when compared to other plays by Shakespeare.",
];

struct Reviews {
    ratings: Option<Target>,
    colour: String,
    pod: String,
    cluster: Option<String>,
}

/// Serves until told to stop.
pub async fn run() -> anyhow::Result<()> {
    let with_ratings = env("ENABLE_RATINGS", "false").eq_ignore_ascii_case("true");
    let reviews = Reviews {
        ratings: with_ratings.then(|| Target::from_env("ratings")),
        colour: env("STAR_COLOR", "black"),
        pod: env("HOSTNAME", "unknown"),
        cluster: std::env::var("CLUSTER_NAME").ok(),
    };
    crate::serve::http(super::port(), router(reviews)).await
}

fn router(reviews: Reviews) -> Router {
    Router::new()
        .route("/health", get(|| async { Json(json!({"status": "Reviews is healthy"})) }))
        .route("/reviews/{id}", get(answer))
        .with_state(Arc::new(reviews))
}

async fn answer(State(reviews): State<Arc<Reviews>>, Path(id): Path<String>, headers: HeaderMap) -> Response {
    if id.parse::<i64>().is_err() {
        let error = json!({"error": "please provide numeric product id"});
        return (StatusCode::BAD_REQUEST, Json(error)).into_response();
    }
    let ratings = match &reviews.ratings {
        Some(target) => Some(stars(target, &id, &headers, &reviews.colour).await),
        None => None,
    };
    let cluster = reviews.cluster.clone().unwrap_or_else(|| "null".into());
    let list = TEXTS
        .iter()
        .enumerate()
        .map(|(index, text)| review(index + 1, text, ratings.as_ref(), &reviews.colour));
    Json(json!({
        "id": id,
        "podname": reviews.pod,
        "clustername": cluster,
        "reviews": list.collect::<Vec<_>>(),
    }))
    .into_response()
}

/// The stars by reviewer; `None` when the ratings service did not answer well.
async fn stars(target: &Target, id: &str, headers: &HeaderMap, colour: &str) -> Option<Value> {
    // The contract of the tutorials: v2 is patient with ratings, v3 is not.
    let patience = if colour == "black" { Duration::from_secs(10) } else { Duration::from_millis(2500) };
    match call(target, &format!("/ratings/{id}"), passed_on(headers), patience).await {
        Ok((StatusCode::OK, body)) => serde_json::from_slice::<Value>(&body).ok()?.get("ratings").cloned(),
        Ok((status, _)) => {
            println!("ratings answered {status}");
            None
        }
        Err(error) => {
            println!("{error:#}");
            None
        }
    }
}

fn review(number: usize, text: &str, ratings: Option<&Option<Value>>, colour: &str) -> Value {
    let reviewer = format!("Reviewer{number}");
    let mut review = json!({"reviewer": reviewer, "text": text});
    let rating = match ratings {
        None => return review,
        Some(Some(stars)) if stars.get(&reviewer).is_some() => {
            json!({"stars": stars[&reviewer], "color": colour})
        }
        Some(_) => json!({"error": "Ratings service is currently unavailable"}),
    };
    review["rating"] = rating;
    review
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_review_has_stars_only_where_ratings_answered() {
        assert_eq!(review(1, "t", None, "black"), json!({"reviewer": "Reviewer1", "text": "t"}));
        let stars = Some(json!({"Reviewer1": 5}));
        assert_eq!(review(1, "t", Some(&stars), "red")["rating"], json!({"stars": 5, "color": "red"}));
        let unavailable = json!({"error": "Ratings service is currently unavailable"});
        assert_eq!(review(2, "t", Some(&stars), "red")["rating"], unavailable);
        assert_eq!(review(2, "t", Some(&None), "red")["rating"], unavailable);
    }
}
