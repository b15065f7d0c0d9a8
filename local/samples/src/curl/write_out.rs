//! `-w`: the variables of curl's output format.

use super::exchange::Outcome;

/// Renders a format such as `%{http_code}\n`. An unknown variable becomes nothing, as in curl.
pub fn render(format: &str, outcome: &Outcome) -> String {
    let mut text = String::new();
    let mut rest = format;
    while let Some(at) = rest.find(['%', '\\']) {
        text.push_str(&rest[..at]);
        rest = &rest[at..];
        let (piece, used) = token(rest, outcome);
        text.push_str(&piece);
        rest = &rest[used..];
    }
    text + rest
}

/// The text for what `rest` starts with, and how many bytes of it that took.
fn token(rest: &str, outcome: &Outcome) -> (String, usize) {
    if let Some(inner) = rest.strip_prefix("%{")
        && let Some(end) = inner.find('}')
    {
        return (variable(&inner[..end], outcome), end + 3);
    }
    for (escape, text) in [("%%", "%"), ("\\n", "\n"), ("\\t", "\t"), ("\\r", "\r"), ("\\\\", "\\")] {
        if rest.starts_with(escape) {
            return (text.into(), escape.len());
        }
    }
    (rest[..1].into(), 1)
}

fn variable(name: &str, outcome: &Outcome) -> String {
    let seconds = |duration: std::time::Duration| format!("{:.6}", duration.as_secs_f64());
    match name {
        "http_code" | "response_code" => format!("{:03}", outcome.status),
        "http_version" => outcome.version.into(),
        "size_download" => outcome.body.len().to_string(),
        "content_type" => outcome.content_type.clone().unwrap_or_default(),
        "redirect_url" => outcome.location.clone().unwrap_or_default(),
        "num_redirects" => outcome.redirects.to_string(),
        "url" | "url_effective" => outcome.url.clone(),
        "remote_ip" => outcome.remote.map(|remote| remote.ip().to_string()).unwrap_or_default(),
        "remote_port" => outcome.remote.map(|remote| remote.port().to_string()).unwrap_or_default(),
        "time_connect" => seconds(outcome.connected),
        "time_starttransfer" => seconds(outcome.first_byte),
        "time_total" => seconds(outcome.total),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_and_escapes() {
        let outcome = Outcome { status: 200, body: "abc".into(), version: "1.1", ..Outcome::default() };
        assert_eq!(render("%{http_code} %{size_download}\\n100%%", &outcome), "200 3\n100%");
        assert_eq!(render("%{http_code}", &Outcome::default()), "000");
        assert_eq!(render("%{nothing}x%", &outcome), "x%");
    }
}
