//! Adding and removing headers, on any level of the configuration.

use http::HeaderMap;
use http::header::{Entry, HeaderName};
use meltemi_proto::envoy::config::core::v3::HeaderValueOption;
use meltemi_proto::envoy::config::core::v3::header_value_option::HeaderAppendAction;

use super::template::Template;
use crate::base::head::HeaderKey;
use crate::base::reject::{At, Compiled, Reject, each, required};
use crate::telemetry::LogContext;

/// Changes to the headers of requests and responses.
#[derive(Debug, Default, Clone)]
pub struct Mutations {
    /// Of requests.
    pub request: Vec<Mutation>,
    /// Of responses.
    pub response: Vec<Mutation>,
}

/// One level's lists, as four fields of a proto.
#[derive(Debug, Clone, Copy)]
pub struct Lists<'a> {
    /// `request_headers_to_add`
    pub request_add: &'a [HeaderValueOption],
    /// `request_headers_to_remove`
    pub request_remove: &'a [String],
    /// `response_headers_to_add`
    pub response_add: &'a [HeaderValueOption],
    /// `response_headers_to_remove`
    pub response_remove: &'a [String],
}

/// One change.
#[derive(Debug, Clone)]
pub enum Mutation {
    /// Take a header away.
    Remove(HeaderName),
    /// Set or add a header.
    Set(Setting),
}

/// A header to set or add.
#[derive(Debug, Clone)]
pub struct Setting {
    key: HeaderKey,
    value: Template,
    append: HeaderAppendAction,
    keep_empty: bool,
}

/// A change that headers alone cannot hold: a new authority or path.
#[derive(Debug, Default)]
pub struct PseudoChanges {
    /// New `:authority`.
    pub authority: Option<String>,
    /// New `:path`.
    pub path: Option<String>,
}

impl Mutations {
    /// Compiles one level's lists: removals first, as Envoy does.
    pub fn compile(lists: Lists<'_>) -> Compiled<Self> {
        let mut request = each("request_headers_to_remove", lists.request_remove, removal)?;
        request.extend(each("request_headers_to_add", lists.request_add, addition)?);
        let mut response = each("response_headers_to_remove", lists.response_remove, removal)?;
        response.extend(each("response_headers_to_add", lists.response_add, addition)?);
        Ok(Self { request, response })
    }

    /// Appends the changes of a level that is evaluated later.
    pub fn extend(&mut self, later: &Self) {
        self.request.extend(later.request.iter().cloned());
        self.response.extend(later.response.iter().cloned());
    }
}

fn removal(name: &String) -> Compiled<Mutation> {
    match HeaderKey::compile("", name)? {
        HeaderKey::Name(name) => Ok(Mutation::Remove(name)),
        _ => Err(Reject::new("", format!("{name:?} cannot be removed"))),
    }
}

fn addition(proto: &HeaderValueOption) -> Compiled<Mutation> {
    let header = required("header", &proto.header)?;
    let key = HeaderKey::compile("header.key", &header.key)?;
    if matches!(key, HeaderKey::Method | HeaderKey::Scheme) {
        return Err(Reject::new("header.key", format!("{:?} cannot be set", header.key)));
    }
    let text = if header.value.is_empty() && !header.raw_value.is_empty() {
        String::from_utf8_lossy(&header.raw_value).into_owned()
    } else {
        header.value.clone()
    };
    let value = Template::compile("value", &text).at("header")?;
    Ok(Mutation::Set(Setting {
        key,
        value,
        append: append_action(proto),
        keep_empty: proto.keep_empty_value,
    }))
}

#[allow(deprecated)] // `append` is still sent.
fn append_action(proto: &HeaderValueOption) -> HeaderAppendAction {
    match &proto.append {
        Some(append) if append.value => HeaderAppendAction::AppendIfExistsOrAdd,
        Some(_) => HeaderAppendAction::OverwriteIfExistsOrAdd,
        None => proto.append_action(),
    }
}

/// Applies changes to a map of headers; `context` is what variables read.
pub fn apply(mutations: &[Mutation], headers: &mut HeaderMap, context: &LogContext<'_>) -> PseudoChanges {
    let mut changes = PseudoChanges::default();
    for mutation in mutations {
        match mutation {
            Mutation::Remove(name) => while headers.remove(name).is_some() {},
            Mutation::Set(setting) => setting.apply(headers, context, &mut changes),
        }
    }
    changes
}

impl Setting {
    fn apply(&self, headers: &mut HeaderMap, context: &LogContext<'_>, changes: &mut PseudoChanges) {
        let Some(value) = self.value.render(context) else { return };
        if value.is_empty() && !self.keep_empty {
            return;
        }
        let name = match &self.key {
            HeaderKey::Name(name) => name,
            HeaderKey::Authority => {
                changes.authority = value.to_str().ok().map(str::to_owned);
                return;
            }
            HeaderKey::Path => {
                changes.path = value.to_str().ok().map(str::to_owned);
                return;
            }
            HeaderKey::Method | HeaderKey::Scheme => return,
        };
        match (self.append, headers.entry(name)) {
            (HeaderAppendAction::AppendIfExistsOrAdd, Entry::Occupied(mut there)) => {
                there.append(value);
            }
            (
                HeaderAppendAction::OverwriteIfExistsOrAdd | HeaderAppendAction::OverwriteIfExists,
                Entry::Occupied(mut there),
            ) => {
                there.insert(value);
            }
            (HeaderAppendAction::AddIfAbsent, Entry::Occupied(_))
            | (HeaderAppendAction::OverwriteIfExists, Entry::Vacant(_)) => {}
            (_, Entry::Vacant(free)) => {
                free.insert(value);
            }
        }
    }
}
