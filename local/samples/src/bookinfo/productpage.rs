//! `productpage`: the shop's front, which asks details and reviews.

use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

use axum::extract::{Form, Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};

use super::page;
use crate::call::{Target, get as call, passed_on};

/// How long the page waits for a service. Reviews are asked twice: the tutorials' deliberate bug.
const PATIENCE: Duration = Duration::from_secs(3);

struct Shop {
    details: Target,
    reviews: Target,
    ratings: Target,
    answers: Mutex<std::collections::BTreeMap<(String, u16), u64>>,
}

/// An answer of a service as the page shows it.
pub struct Answer {
    /// The service's status, or 500 when it did not answer.
    pub status: StatusCode,
    /// The JSON it sent, or an object with `error`.
    pub body: Value,
}

/// Serves until told to stop.
pub async fn run() -> anyhow::Result<()> {
    let target = Target::from_env;
    let shop = Shop {
        details: target("details"),
        reviews: target("reviews"),
        ratings: target("ratings"),
        answers: Mutex::default(),
    };
    crate::serve::http(super::port(), router(shop)).await
}

fn router(shop: Shop) -> Router {
    Router::new()
        .route("/", get(|| async { Html(page::index(&services())) }))
        .route("/index.html", get(|| async { Html(page::index(&services())) }))
        .route("/health", get(|| async { "Product page is healthy" }))
        .route("/login", post(login))
        .route("/logout", get(logout))
        .route("/productpage", get(front))
        .route("/static/{*path}", get(page::asset))
        .route("/api/v1/products", get(|| async { Json(json!([product()])) }))
        .route("/api/v1/products/{id}", get(product_details))
        .route("/api/v1/products/{id}/reviews", get(product_reviews))
        .route("/api/v1/products/{id}/ratings", get(product_ratings))
        .route("/metrics", get(metrics))
        .with_state(Arc::new(shop))
}

fn services() -> Vec<(&'static str, Target)> {
    ["details", "reviews", "ratings"].map(|name| (name, Target::from_env(name))).to_vec()
}

fn product() -> Value {
    json!({
        "id": 0,
        "title": "The Comedy of Errors",
        "descriptionHtml": page::DESCRIPTION,
    })
}

async fn front(State(shop): State<Arc<Shop>>, headers: HeaderMap) -> Response {
    let user = user_of(&headers);
    let onward = onward(&headers, user.as_deref());
    let details = shop.ask("details", "/details/0", &onward, 1).await;
    let reviews = shop.ask("reviews", "/reviews/0", &onward, 2).await;
    Html(page::front(user.as_deref(), &details, &reviews)).into_response()
}

async fn product_details(State(shop): State<Arc<Shop>>, Path(id): Path<u64>, headers: HeaderMap) -> Response {
    let onward = onward(&headers, user_of(&headers).as_deref());
    json_answer(shop.ask("details", &format!("/details/{id}"), &onward, 1).await)
}

async fn product_reviews(State(shop): State<Arc<Shop>>, Path(id): Path<u64>, headers: HeaderMap) -> Response {
    let onward = onward(&headers, user_of(&headers).as_deref());
    json_answer(shop.ask("reviews", &format!("/reviews/{id}"), &onward, 2).await)
}

async fn product_ratings(State(shop): State<Arc<Shop>>, Path(id): Path<u64>, headers: HeaderMap) -> Response {
    let onward = onward(&headers, user_of(&headers).as_deref());
    json_answer(shop.ask("ratings", &format!("/ratings/{id}"), &onward, 1).await)
}

fn json_answer(answer: Answer) -> Response {
    (answer.status, Json(answer.body)).into_response()
}

impl Shop {
    async fn ask(&self, service: &'static str, path: &str, headers: &HeaderMap, tries: u32) -> Answer {
        let target = match service {
            "details" => &self.details,
            "reviews" => &self.reviews,
            _ => &self.ratings,
        };
        let mut answer = unavailable(service, StatusCode::INTERNAL_SERVER_ERROR);
        for _ in 0..tries {
            answer = match call(target, path, headers.clone(), PATIENCE).await {
                Ok((StatusCode::OK, body)) => match serde_json::from_slice(&body) {
                    Ok(body) => Answer { status: StatusCode::OK, body },
                    Err(_) => unavailable(service, StatusCode::BAD_GATEWAY),
                },
                Ok((status, _)) => unavailable(service, status),
                Err(error) => {
                    println!("{error:#}");
                    unavailable(service, StatusCode::INTERNAL_SERVER_ERROR)
                }
            };
            if answer.status == StatusCode::OK {
                break;
            }
        }
        if let Ok(mut answers) = self.answers.lock() {
            *answers.entry((target.host.clone(), answer.status.as_u16())).or_default() += 1;
        }
        answer
    }
}

fn unavailable(service: &str, status: StatusCode) -> Answer {
    let error = format!("Sorry, product {service} are currently unavailable for this book.");
    Answer { status, body: json!({ "error": error }) }
}

/// What the next hop sees: the headers that Bookinfo passes on, and who is logged in.
fn onward(incoming: &HeaderMap, user: Option<&str>) -> HeaderMap {
    let mut headers = passed_on(incoming);
    headers.remove("end-user");
    if let Some(user) = user.and_then(|user| HeaderValue::from_str(user).ok()) {
        headers.insert("end-user", user);
    }
    headers
}

#[derive(Deserialize)]
struct Login {
    username: String,
}

async fn login(headers: HeaderMap, Form(login): Form<Login>) -> Response {
    let user: String = login
        .username
        .chars()
        .filter(|c| c.is_ascii_alphanumeric() || "-_.@".contains(*c))
        .take(64)
        .collect();
    back_with_cookie(&headers, &format!("session={user}; Path=/; HttpOnly; SameSite=Lax"))
}

async fn logout(headers: HeaderMap) -> Response {
    back_with_cookie(&headers, "session=; Path=/; Max-Age=0; HttpOnly; SameSite=Lax")
}

/// Sends the browser back to where it came from, or to the product page.
fn back_with_cookie(headers: &HeaderMap, cookie: &str) -> Response {
    let back = headers.get(header::REFERER).cloned().unwrap_or(HeaderValue::from_static("/productpage"));
    let mut response = StatusCode::FOUND.into_response();
    response.headers_mut().insert(header::LOCATION, back);
    if let Ok(cookie) = HeaderValue::from_str(cookie) {
        response.headers_mut().insert(header::SET_COOKIE, cookie);
    }
    response
}

fn user_of(headers: &HeaderMap) -> Option<String> {
    let cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let user = cookies.flat_map(|line| line.split(';')).find_map(|pair| pair.trim().strip_prefix("session="));
    user.filter(|user| !user.is_empty()).map(str::to_owned)
}

async fn metrics(State(shop): State<Arc<Shop>>) -> Response {
    let mut text = String::from(
        "# HELP request_result_total Results of requests\n# TYPE request_result_total counter\n",
    );
    if let Ok(answers) = shop.answers.lock() {
        for ((app, code), count) in answers.iter() {
            text.push_str(&format!(
                "request_result_total{{destination_app=\"{app}\",response_code=\"{code}\"}} {count}\n"
            ));
        }
    }
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_user_comes_from_the_session_cookie_only() {
        let mut headers = HeaderMap::new();
        headers.insert("end-user", HeaderValue::from_static("mallory"));
        assert_eq!(user_of(&headers), None);
        assert!(onward(&headers, None).get("end-user").is_none());
        headers.insert(header::COOKIE, HeaderValue::from_static("a=b; session=jason"));
        let user = user_of(&headers);
        assert_eq!(user.as_deref(), Some("jason"));
        assert_eq!(onward(&headers, user.as_deref())["end-user"], "jason");
    }
}
