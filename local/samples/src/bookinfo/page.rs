//! The HTML of the product page.

use axum::extract::Path;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::Value;

use super::productpage::Answer;
use crate::call::Target;

/// What the shop says of its one book.
pub const DESCRIPTION: &str = "<a href=\"https://en.wikipedia.org/wiki/The_Comedy_of_Errors\">Wikipedia Summary</a>: \
The Comedy of Errors is one of <b>William Shakespeare's</b> early plays. It is his shortest and one of his most farcical \
comedies, with a major part of the humour coming from slapstick and mistaken identity, in addition to puns and word play.";

const STYLE: &str = include_str!("page.css");

/// The start page: what the shop is made of, and two ways in.
pub fn index(services: &[(&str, Target)]) -> String {
    let rows: String = services
        .iter()
        .map(|(name, target)| {
            format!("<tr><th>{name}</th><td>http://{}:{}</td></tr>", escape(&target.host), target.port)
        })
        .collect();
    let body = format!(
        "<section class=\"card\"><h2>Hello! This is a simple bookstore application of three services as shown below</h2>\
         <table>{rows}</table>\
         <p>Click on one of the links below to auto generate a request to the backend as a real user or a tester</p>\
         <p><a class=\"button\" href=\"/productpage?u=normal\">Normal user</a> \
         <a class=\"button\" href=\"/productpage?u=test\">Test user</a></p></section>"
    );
    document(&header(None), &body)
}

/// The product page.
pub fn front(user: Option<&str>, details: &Answer, reviews: &Answer) -> String {
    let body = format!(
        "<section class=\"hero\"><div class=\"cover\" aria-hidden=\"true\"><span>The Comedy<br>of Errors</span><small>William Shakespeare</small></div>\
         <div><h2>The Comedy of Errors</h2><p>{DESCRIPTION}</p></div></section>\
         <div class=\"columns\">{}{}</div>",
        details_card(details),
        reviews_card(reviews)
    );
    document(&header(user), &body)
}

fn header(user: Option<&str>) -> String {
    let account = match user {
        Some(user) => format!(
            "<span class=\"user\">{}</span> <a class=\"button quiet\" href=\"/logout\">Sign out</a>",
            escape(user)
        ),
        None => "<form method=\"post\" action=\"/login\" class=\"login\">\
                 <input name=\"username\" placeholder=\"User name\" aria-label=\"User name\" required>\
                 <input name=\"passwd\" type=\"password\" placeholder=\"Password\" aria-label=\"Password\">\
                 <button class=\"button\">Sign in</button></form>"
            .to_owned(),
    };
    format!("<header><h1><a href=\"/\">BookInfo Sample</a></h1>{account}</header>")
}

fn details_card(details: &Answer) -> String {
    if details.status != StatusCode::OK {
        return failure("details", details);
    }
    let row = |label: &str, key: &str| {
        let value = &details.body[key];
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        format!("<dt>{label}</dt><dd>{}</dd>", escape(&text))
    };
    let rows = [
        row("ISBN-10", "ISBN-10"),
        row("Publisher", "publisher"),
        row("Pages", "pages"),
        row("Type", "type"),
        row("Language", "language"),
    ];
    format!("<section class=\"card\"><h3>Book Details</h3><dl>{}</dl></section>", rows.concat())
}

fn reviews_card(reviews: &Answer) -> String {
    if reviews.status != StatusCode::OK {
        return failure("reviews", reviews);
    }
    let list = reviews.body["reviews"].as_array().map(Vec::as_slice).unwrap_or_default();
    let quotes: String = list.iter().map(quote).collect();
    let pod = reviews.body["podname"].as_str().unwrap_or("unknown");
    let cluster = reviews.body["clustername"].as_str().filter(|name| *name != "null");
    let cluster = cluster.map(|name| format!(" on cluster {}", escape(name))).unwrap_or_default();
    format!(
        "<section class=\"card\"><h3>Book Reviews</h3>{quotes}<p class=\"served\">Reviews served by: {}{cluster}</p></section>",
        escape(pod)
    )
}

fn quote(review: &Value) -> String {
    let text = review["text"].as_str().unwrap_or_default();
    let reviewer = review["reviewer"].as_str().unwrap_or_default();
    format!(
        "<blockquote><p>“{}”</p>{}<footer>{}</footer></blockquote>",
        escape(text),
        rating(&review["rating"]),
        escape(reviewer)
    )
}

fn rating(rating: &Value) -> String {
    if let Some(error) = rating["error"].as_str() {
        return format!("<p class=\"error\"><i>{}</i></p>", escape(error));
    }
    let Some(stars) = rating["stars"].as_u64() else { return String::new() };
    let colour = if rating["color"] == "red" { "red" } else { "black" };
    let full = STAR.repeat(usize::try_from(stars.min(5)).unwrap_or(0));
    let empty = HOLLOW.repeat(usize::try_from(5 - stars.min(5)).unwrap_or(0));
    format!("<div class=\"flex gap-x-1 text-{colour}-500\">{full}{empty}</div>")
}

const STAR: &str = "<svg id=\"glyphicon glyphicon-star\" class=\"star\" viewBox=\"0 0 20 20\" fill=\"currentColor\" aria-label=\"star\">\
<path d=\"M10 1.6l2.6 5.3 5.8.8-4.2 4.1 1 5.8-5.2-2.7-5.2 2.7 1-5.8L1.6 7.7l5.8-.8z\"/></svg>";
const HOLLOW: &str = "<svg id=\"glyphicon glyphicon-star-empty\" class=\"star\" viewBox=\"0 0 20 20\" fill=\"none\" stroke=\"currentColor\" aria-hidden=\"true\">\
<path d=\"M10 1.6l2.6 5.3 5.8.8-4.2 4.1 1 5.8-5.2-2.7-5.2 2.7 1-5.8L1.6 7.7l5.8-.8z\"/></svg>";

fn failure(what: &str, answer: &Answer) -> String {
    let text = answer.body["error"].as_str().unwrap_or_default();
    format!(
        "<section class=\"card\"><h3 class=\"error\">Error fetching product {what}</h3><p>{}</p></section>",
        escape(text)
    )
}

fn document(header: &str, body: &str) -> String {
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>Simple Bookstore App</title>\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"><style>{STYLE}</style></head>\
         <body>{header}<main>{body}</main></body></html>\n"
    )
}

/// The page brings its one style sheet within; tutorials only ask that `/static` is routed.
pub async fn asset(Path(path): Path<String>) -> Response {
    match path.as_str() {
        "bookinfo.css" => ([(header::CONTENT_TYPE, "text/css")], STYLE).into_response(),
        _ => StatusCode::NOT_FOUND.into_response(),
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
        .replace('\'', "&#39;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn ok(body: Value) -> Answer {
        Answer { status: StatusCode::OK, body }
    }

    fn reviews(rating: Value) -> Answer {
        ok(json!({"podname": "reviews-v3-x", "clustername": "null",
            "reviews": [{"reviewer": "Reviewer1", "text": "<b>", "rating": rating}]}))
    }

    #[test]
    fn stars_have_the_colour_and_number_that_tutorials_look_for() {
        let html = front(None, &ok(json!({})), &reviews(json!({"stars": 4, "color": "red"})));
        assert!(html.contains("<title>Simple Bookstore App</title>"));
        assert!(html.contains("<div class=\"flex gap-x-1 text-red-500\">"));
        assert_eq!(html.matches("<svg id=\"glyphicon glyphicon-star\"").count(), 4);
        assert!(html.contains("Reviews served by: reviews-v3-x"));
        assert!(html.contains("&lt;b&gt;"), "texts of services are escaped");
    }

    #[test]
    fn failures_are_told_on_the_page() {
        let down = |what: &str| Answer {
            status: StatusCode::SERVICE_UNAVAILABLE,
            body: json!({"error": format!("Sorry, product {what} are currently unavailable for this book.")}),
        };
        let html = front(Some("jason"), &down("details"), &down("reviews"));
        assert!(html.contains("Error fetching product details"));
        assert!(html.contains("Sorry, product reviews are currently unavailable for this book."));
        assert!(html.contains("jason") && html.contains("Sign out"));
    }
}
