//! `/logging`: levels of scopes, in Envoy's words.

use http::StatusCode;
use meltemi_process::logging;

use super::Answer;
use super::query::Query;

pub(super) fn answer(query: &Query, post: bool) -> Answer {
    let Some(handle) = logging::handle() else {
        return Answer::problem(StatusCode::SERVICE_UNAVAILABLE, "logging was not started in this process");
    };
    if !query.all().is_empty() {
        if !post {
            return Answer::problem(StatusCode::METHOD_NOT_ALLOWED, "levels are changed by POST");
        }
        let wanted = match changes(query) {
            Ok(wanted) => wanted,
            Err(why) => return Answer::problem(StatusCode::BAD_REQUEST, why),
        };
        if let Err(error) = handle.set(&wanted) {
            return Answer::problem(StatusCode::BAD_REQUEST, error.to_string());
        }
    }
    let levels = handle.levels();
    let lines = levels.scopes().map(|(scope, level)| format!("  {scope}: {}\n", envoy_name(&level)));
    Answer::text(format!("active loggers:\n  default: {}\n{}", default_level(), lines.collect::<String>()))
}

/// The level of scopes without one of their own, as Envoy names it.
pub(super) fn default_level() -> String {
    let levels = logging::handle().map(logging::Handle::levels).unwrap_or_default().to_string();
    let default = levels.split(',').find_map(|part| part.strip_prefix("default:"));
    envoy_name(default.unwrap_or("info")).to_owned()
}

/// `?level=debug`, `?paths=a:debug,b:info` and `?a=debug` as `default:debug,…`.
fn changes(query: &Query) -> Result<String, String> {
    let mut wanted = Vec::new();
    for (name, value) in query.all() {
        match name.as_str() {
            "level" => wanted.push(("default", value.as_str())),
            "paths" => {
                for pair in value.split(',') {
                    wanted
                        .push(pair.split_once(':').ok_or_else(|| format!("{pair:?}: expected scope:level"))?);
                }
            }
            scope => wanted.push((scope, value.as_str())),
        }
    }
    let pairs = wanted.into_iter().map(|(scope, level)| format!("{scope}:{level}"));
    Ok(pairs.collect::<Vec<_>>().join(","))
}

fn envoy_name(level: &str) -> &str {
    match level {
        "warn" => "warning",
        "none" => "off",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_ways_to_change_levels() {
        let wanted = |text: &str| changes(&Query::parse(text));
        assert_eq!(wanted("level=warning").unwrap(), "default:warning");
        assert_eq!(wanted("paths=xds:debug,http:off").unwrap(), "xds:debug,http:off");
        assert_eq!(wanted("xds=trace").unwrap(), "xds:trace");
        assert!(wanted("paths=xds").unwrap_err().contains("scope:level"));
    }
}
