//! `get` and `list`.

use super::{Answer, Call};
use crate::error::{ApiError, Result};
use crate::registry::Resource;
use crate::request::View;
use crate::selector::{FieldSelector, LabelSelector, supported_field};
use crate::store::{Listing, Stored};
use crate::table;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as B64;
use http::StatusCode;
use serde_json::{Value, json};
use std::borrow::Cow;
use std::sync::Arc;

/// The selectors of a list or watch.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    labels: LabelSelector,
    fields: FieldSelector,
}

impl Selection {
    /// From the query.
    pub fn of(call: &Call) -> Result<Self> {
        let resource = &call.resource;
        let supported = |field: &str| supported_field(&resource.group, &resource.plural, field);
        let mut fields = FieldSelector::parse(call.query.get("fieldSelector"), &supported)?;
        if !call.path.name.is_empty() {
            fields.0.push(("metadata.name".into(), call.path.name.clone(), false));
        }
        Ok(Selection { labels: LabelSelector::parse(call.query.get("labelSelector"))?, fields })
    }

    /// Whether an object is selected.
    pub fn matches(&self, object: &Value) -> bool {
        self.labels.matches(object) && self.fields.matches(object)
    }

    /// Whether everything is selected.
    pub fn is_everything(&self) -> bool {
        self.labels.0.is_empty() && self.fields.0.is_empty()
    }
}

/// The object as this resource's version shows it.
pub fn presented<'a>(resource: &Resource, stored: &'a Stored) -> Cow<'a, Value> {
    resource.present(&stored.value).map_or(Cow::Borrowed(&stored.value), Cow::Owned)
}

/// One object.
pub fn get(call: &Call) -> Result<Answer> {
    let stored = call.core.store.get(&call.resource.storage, &call.key()).ok_or_else(|| call.not_found())?;
    if let Some(wanted) = call.query.get("resourceVersion").parse::<u64>().ok().filter(|v| *v > 0) {
        not_from_the_future(call, wanted)?;
    }
    object(call, StatusCode::OK, &stored)
}

/// An answer with one stored object in the view asked for.
pub fn object(call: &Call, code: StatusCode, stored: &Stored) -> Result<Answer> {
    if call.view()? == View::Full && call.resource.present(&stored.value).is_none() {
        return Ok(Answer::bytes(code, stored.json.clone()));
    }
    object_value(call, code, &presented(&call.resource, stored))
}

/// An answer with one object that may not be stored (dry run, reviews) in the view asked for.
pub fn object_value(call: &Call, code: StatusCode, value: &Value) -> Result<Answer> {
    Ok(Answer::json(
        code,
        &match call.view()? {
            View::Full => value.clone(),
            View::Metadata => table::partial(value),
            View::Table => {
                let rows = vec![table::row(&call.resource, value, include(call))];
                let version = crate::object::text(value, "/metadata/resourceVersion").to_owned();
                table::table(&call.resource, rows, json!({ "resourceVersion": version }), true)
            }
        },
    ))
}

/// How much of the object goes into a table's rows.
pub fn include(call: &Call) -> table::Include {
    match call.query.get("includeObject") {
        "None" => table::Include::Nothing,
        "Object" => table::Include::Object,
        _ => table::Include::Metadata,
    }
}

fn not_from_the_future(call: &Call, wanted: u64) -> Result<()> {
    let current = call.core.store.version();
    if wanted <= current {
        return Ok(());
    }
    let text = format!("Too large resource version: {wanted}, current: {current}");
    let mut error = ApiError::custom(StatusCode::GATEWAY_TIMEOUT, "Timeout", text.clone());
    let cause = json!({"reason": "ResourceVersionTooLarge", "message": "Too large resource version"});
    error.details = Some(Box::new(json!({"causes": [cause], "retryAfterSeconds": 1})));
    Err(error)
}

/// Where a paged list goes on, and at which version; version 0 is whatever is current, for who can do with less
/// than one moment's truth.
struct Continue {
    version: u64,
    after: String,
}

impl Continue {
    fn parse(token: &str) -> Result<Self> {
        let bad = || ApiError::bad_request("continue key is not valid: it was not issued by this server");
        let text = B64.decode(token).ok().and_then(|b| String::from_utf8(b).ok()).ok_or_else(bad)?;
        let (version, after) = text.split_once(':').ok_or_else(bad)?;
        Ok(Continue { version: version.parse().map_err(|_| bad())?, after: after.to_owned() })
    }

    fn token(&self) -> String {
        B64.encode(format!("{}:{}", self.version, self.after))
    }
}

/// A list.
pub fn list(call: &Call) -> Result<Answer> {
    let selection = Selection::of(call)?;
    let query = &call.query;
    let from = match query.get("continue") {
        "" => None,
        token => Some(Continue::parse(token)?),
    };
    check_version(call, from.is_some())?;
    let prefix =
        if call.path.namespace.is_empty() { String::new() } else { format!("{}/", call.path.namespace) };
    let store = &call.core.store;
    // All pages show the objects of the first page's version: what changed since reaches the client through its watch.
    let Listing { items, version } = match &from {
        Some(from) if from.version > 0 => {
            store.list_at(&call.resource.storage, &prefix, from.version).ok_or_else(|| {
                ApiError::expired_continue(Continue { version: 0, after: from.after.clone() }.token())
            })?
        }
        _ => store.list(&call.resource.storage, &prefix),
    };
    let after = from.as_ref().map(|f| f.after.as_str());
    let mut found: Vec<(String, Arc<Stored>)> = items
        .into_iter()
        .filter(|(key, _)| after.is_none_or(|a| key.as_str() > a))
        .filter(|(_, stored)| selection.is_everything() || selection.matches(&stored.value))
        .collect();
    let limit = query.get("limit").parse::<usize>().ok().filter(|l| *l > 0);
    let mut meta = json!({ "resourceVersion": version.to_string() });
    if let Some(limit) = limit.filter(|l| found.len() > *l) {
        let remaining = found.len() - limit;
        found.truncate(limit);
        let after = found.last().map(|(k, _)| k.clone()).unwrap_or_default();
        meta["continue"] = json!(Continue { version, after }.token());
        if selection.is_everything() {
            meta["remainingItemCount"] = json!(remaining);
        }
    }
    render(call, &found, meta)
}

fn check_version(call: &Call, paged: bool) -> Result<()> {
    let query = &call.query;
    let (version, rule) = (query.get("resourceVersion"), query.get("resourceVersionMatch"));
    if paged {
        return if version.is_empty() || version == "0" {
            Ok(())
        } else {
            Err(ApiError::bad_request("specifying resource version is not allowed when using continue"))
        };
    }
    if version.is_empty() {
        if !rule.is_empty() && !query.flag("sendInitialEvents") {
            let text = "resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden unless resourceVersion is provided";
            return Err(ApiError::bad_request(text));
        }
        return Ok(());
    }
    let wanted: u64 = version.parse().map_err(|_| {
        ApiError::bad_request(format!("resourceVersion: Invalid value: {version:?}: must be a number"))
    })?;
    match rule {
        "" | "NotOlderThan" => not_from_the_future(call, wanted),
        "Exact" if wanted == call.core.store.version() => Ok(()),
        "Exact" => {
            Err(ApiError::expired(format!("The provided resourceVersion {wanted} is no longer available")))
        }
        other => Err(ApiError::bad_request(format!("resourceVersionMatch: Unsupported value: {other:?}"))),
    }
}

fn render(call: &Call, found: &[(String, Arc<Stored>)], meta: Value) -> Result<Answer> {
    let resource = &call.resource;
    match call.view()? {
        View::Full => Ok(Answer::bytes(StatusCode::OK, full_list(resource, found, &meta).into())),
        View::Metadata => {
            let items: Vec<Value> =
                found.iter().map(|(_, s)| table::partial(&presented(resource, s))).collect();
            let list = json!({"kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1", "metadata": meta, "items": items});
            Ok(Answer::ok(&list))
        }
        View::Table => {
            let include = include(call);
            let rows =
                found.iter().map(|(_, s)| table::row(resource, &presented(resource, s), include)).collect();
            Ok(Answer::ok(&table::table(resource, rows, meta, true)))
        }
    }
}

/// A list from JSON that is already encoded.
fn full_list(resource: &Resource, found: &[(String, Arc<Stored>)], meta: &Value) -> Vec<u8> {
    let size: usize = found.iter().map(|(_, s)| s.json.len() + 1).sum();
    let mut out = Vec::with_capacity(size + 256);
    let head = json!({"kind": resource.list_kind, "apiVersion": resource.api_version(), "metadata": meta})
        .to_string();
    out.extend_from_slice(&head.as_bytes()[..head.len() - 1]);
    out.extend_from_slice(b",\"items\":[");
    for (i, (_, stored)) in found.iter().enumerate() {
        if i > 0 {
            out.push(b',');
        }
        match resource.present(&stored.value) {
            None => out.extend_from_slice(&stored.json),
            Some(value) => out.extend_from_slice(value.to_string().as_bytes()),
        }
    }
    out.extend_from_slice(b"]}");
    out
}
