//! `/config_dump`: what is in force, what was rejected, in the shapes of `envoy.admin.v3`.

mod select;
mod types;

use http::StatusCode;
use meltemi_proto::json::{JsonError, Style, to_json_as};
use prost::{Message, Name};
use regex_automata::meta::Regex;
use serde_json::{Value, json};

use super::listeners::failed;
use super::query::Query;
use super::redact::redact;
use super::sources::{ConfigSource, Resource};
use super::{Admin, Answer};

pub(super) fn answer(admin: &Admin, query: &Query) -> Answer {
    let names = match query.get("name_regex").filter(|text| !text.is_empty()).map(whole).transpose() {
        Ok(names) => names,
        Err(why) => return Answer::problem(StatusCode::BAD_REQUEST, why),
    };
    let source = Filtered { source: &*admin.config, names };
    let eds = query.flag("include_eds");
    let mut dump = match sections(&source, eds) {
        Ok(sections) => sections,
        Err(error) => return failed(error),
    };
    if let Some(resource) = query.get("resource") {
        // Endpoints are dumped when they are asked for by name, as in Envoy.
        let section = match (eds, resource) {
            (false, "dynamic_endpoint_configs" | "static_endpoint_configs") => sections(&source, true),
            _ => Ok(dump),
        };
        dump = match section.map(|all| select::items(&all, resource)) {
            Ok(Some(items)) => items,
            Ok(None) => return Answer::problem(StatusCode::BAD_REQUEST, select::unknown(resource)),
            Err(error) => return failed(error),
        };
    }
    if let Some(mask) = query.get("mask").filter(|mask| !mask.is_empty()) {
        dump.iter_mut().for_each(|section| select::mask(section, mask));
    }
    dump.iter_mut().for_each(redact);
    Answer::json(&json!({ "configs": dump }))
}

fn whole(text: &str) -> Result<Regex, String> {
    Regex::new(&format!("^(?:{text})$")).map_err(|error| format!("name_regex {text:?}: {error}"))
}

/// The configuration, only as far as names match.
struct Filtered<'a> {
    source: &'a dyn ConfigSource,
    names: Option<Regex>,
}

impl Filtered<'_> {
    fn resources(&self, type_url: &str) -> Vec<Resource> {
        let mut all = self.source.resources(type_url);
        all.retain(|resource| {
            self.names.as_ref().is_none_or(|names| names.is_match(resource.name.as_bytes()))
        });
        all
    }
}

/// All sections, in Envoy's order.
fn sections(source: &Filtered<'_>, eds: bool) -> Result<Vec<Value>, JsonError> {
    let mut all = vec![section(&types::bootstrap(source.source))?, section(&types::clusters(source))?];
    if eds {
        all.push(section(&types::endpoints(source))?);
    }
    all.push(section(&types::listeners(source))?);
    all.push(section(&types::routes(source))?);
    all.push(section(&types::secrets(source))?);
    let extensions = types::extensions(source);
    if !extensions.ecds_filters.is_empty() {
        all.push(section(&extensions)?);
    }
    Ok(all)
}

fn section<M: Message + Name>(message: &M) -> Result<Value, JsonError> {
    let mut object = serde_json::Map::new();
    object.insert("@type".to_owned(), M::type_url().into());
    if let Value::Object(fields) = to_json_as(message, Style { proto_names: true })? {
        object.extend(fields);
    }
    Ok(Value::Object(object))
}
