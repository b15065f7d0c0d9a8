//! From an HTTP request to its handler.

mod answer;
pub(crate) mod delete;
mod discovery;
mod health;
mod read;
mod review;
mod scale;
mod watch;
pub(crate) mod write;

pub use answer::Answer;
pub use health::VERSION;

use crate::auth::rbac::{self, Attributes};
use crate::auth::{User, authenticate, impersonate};
use crate::error::{ApiError, Result};
use crate::registry::Resource;
use crate::request::{Query, ResourcePath, View, parse_path, verb, view};
use crate::server::Core;
use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, header};
use http_body_util::{BodyExt, Limited};
use std::sync::Arc;

/// The largest request body, as in the real server.
pub const MAX_BODY: usize = 3 * 1024 * 1024;

/// A request for a resource, authenticated and authorized.
#[derive(Clone)]
pub struct Call {
    /// The server.
    pub core: Arc<Core>,
    /// The caller.
    pub user: User,
    /// HTTP method.
    pub method: Method,
    /// Kubernetes verb.
    pub verb: &'static str,
    /// The path's parts.
    pub path: ResourcePath,
    /// The resource.
    pub resource: Arc<Resource>,
    /// Query parameters.
    pub query: Query,
    /// Request headers.
    pub headers: HeaderMap,
    /// Warnings to send along.
    pub warnings: Arc<parking_lot::Mutex<Vec<String>>>,
}

impl Call {
    /// Adds a warning for the user.
    pub fn warn(&self, text: impl Into<String>) {
        let mut warnings = self.warnings.lock();
        let text = text.into();
        if warnings.len() < 20 && !warnings.contains(&text) {
            warnings.push(text);
        }
    }

    /// The storage key of the named object.
    pub fn key(&self) -> String {
        crate::store::key(&self.path.namespace, &self.path.name)
    }

    /// 404 for the named object.
    pub fn not_found(&self) -> ApiError {
        ApiError::not_found(&self.resource.qualified(), &self.path.name)
    }

    /// Whether nothing is to be stored.
    pub fn dry_run(&self) -> Result<bool> {
        match self.query.all("dryRun") {
            [] => Ok(false),
            all if all.iter().all(|v| v == "All") => Ok(true),
            all => {
                let value = serde_json::Value::from(all.concat());
                let error = crate::error::FieldError::not_supported("dryRun", &value, &["All"]);
                Err(ApiError::invalid("Options", "meta.k8s.io", "", &[error]))
            }
        }
    }

    /// Refuses a caller who may change this object and not make it.
    pub fn may_create(&self) -> Result<()> {
        let wanted = self.path.attributes("create");
        if rbac::allowed(&self.core.store, &self.user, &wanted) {
            return Ok(());
        }
        Err(rbac::refusal(&self.user, &wanted))
    }

    /// The representation asked for.
    pub fn view(&self) -> Result<View> {
        view(&self.headers).ok_or_else(|| ApiError::not_acceptable("application/json"))
    }
}

/// Handles any request; never fails.
pub async fn handle(core: Arc<Core>, request: Request<Body>) -> Response<Body> {
    let head = request.method() == Method::HEAD;
    let response = match route(core, request).await {
        Ok(response) => response,
        Err(error) => Answer::error(&error).into_response(),
    };
    if head { response.map(|_| Body::empty()) } else { response }
}

async fn route(core: Arc<Core>, request: Request<Body>) -> Result<Response<Body>> {
    let user = authenticate(&core, request.headers(), request.extensions())?;
    let user = impersonate(&core, user, request.headers())?;
    let path = request.uri().path().to_owned();
    match parse_path(&path) {
        Some((parts, old_watch)) => resource(core, user, parts, old_watch, request).await,
        None => plain(core, user, &path, request).await,
    }
}

/// Paths that are no resources: discovery, health, version, OpenAPI.
async fn plain(core: Arc<Core>, user: User, path: &str, request: Request<Body>) -> Result<Response<Body>> {
    let method = request.method().as_str().to_lowercase();
    let method = if method == "head" { "get".to_owned() } else { method };
    let wanted = Attributes { verb: &method, path, ..Attributes::default() };
    if !rbac::allowed(&core.store, &user, &wanted) {
        return Err(rbac::refusal(&user, &wanted));
    }
    if method != "get" {
        return Err(ApiError::method_not_allowed());
    }
    if let Some(response) =
        health::handle(&core, path, &Query::parse(request.uri().query().unwrap_or_default()))
    {
        return Ok(response);
    }
    if let Some(response) = crate::openapi::handle(&core, path, request.headers()) {
        return response;
    }
    discovery::handle(&core, path, request.headers()).ok_or_else(ApiError::no_such_path)
}

async fn resource(
    core: Arc<Core>,
    user: User,
    path: ResourcePath,
    old_watch: bool,
    request: Request<Body>,
) -> Result<Response<Body>> {
    let (parts, body) = request.into_parts();
    let mut query = Query::parse(parts.uri.query().unwrap_or_default());
    if old_watch {
        query.set("watch", "true".into());
    }
    let watch = query.flag("watch") && path.subresource.is_empty();
    let verb = verb(&parts.method, !path.name.is_empty(), watch);
    let mut wanted = path.attributes(streaming_verb(verb, &path.subresource));
    // A list or watch of one object by its name is authorized by that name.
    let only = crate::selector::exact_name(query.get("fieldSelector"));
    if matches!(verb, "list" | "watch") && path.name.is_empty() {
        wanted.name = only.as_deref().unwrap_or_default();
    }
    if !rbac::allowed(&core.store, &user, &wanted) {
        return Err(rbac::refusal(&user, &wanted));
    }
    let resource = core.registry.load().find(&path.group, &path.version, &path.plural).cloned();
    let resource =
        resource.ok_or_else(|| crate::registry::unserved(&path.group, &path.version, &path.plural))?;
    // Cluster-scoped resources have no namespaced path.
    if !path.namespace.is_empty() && !resource.namespaced {
        return Err(ApiError::no_such_path());
    }
    let warning = resource.custom.as_ref().and_then(|c| c.warning.clone());
    let call = Call {
        core,
        user,
        method: parts.method.clone(),
        verb,
        path,
        resource,
        query,
        headers: parts.headers.clone(),
        warnings: Arc::new(warning.into_iter().collect::<Vec<_>>().into()),
    };
    if matches!(call.path.subresource.as_str(), "log" | "exec" | "attach" | "portforward") {
        return crate::streaming::handle(call, parts, body).await;
    }
    dispatch(call, body).await
}

/// Streaming is authorized as `create`, whatever the HTTP method (`get` for logs).
fn streaming_verb(verb: &'static str, subresource: &str) -> &'static str {
    if matches!(subresource, "exec" | "attach" | "portforward") { "create" } else { verb }
}

async fn dispatch(call: Call, body: Body) -> Result<Response<Body>> {
    if call.verb == "watch" {
        return watch::handle(call);
    }
    let body = match call.verb {
        "get" | "list" => Bytes::new(),
        _ => read_body(&call.headers, body).await?,
    };
    let answer = match (call.path.subresource.as_str(), call.verb) {
        ("", _) if !call.resource.stored => review::handle(&call, &body),
        ("", "get") => read::get(&call),
        ("", "list") => read::list(&call),
        ("", "create") if call.path.name.is_empty() => write::create(&call, &body).await,
        ("", "update") if !call.path.name.is_empty() => write::replace(&call, &body).await,
        ("", "patch") if !call.path.name.is_empty() => write::patch(&call, &body).await,
        ("", "delete") => delete::one(&call, &body).await,
        ("", "deletecollection") => delete::collection(&call, &body).await,
        ("", _) => Err(ApiError::method_not_allowed()),
        _ => subresource(&call, &body).await,
    };
    let warnings = std::mem::take(&mut *call.warnings.lock());
    Ok(match answer {
        Ok(answer) => answer,
        Err(error) => Answer::error(&error),
    }
    .with_warnings(&warnings)
    .into_response())
}

async fn subresource(call: &Call, body: &Bytes) -> Result<Answer> {
    let named = (call.resource.group.as_str(), call.resource.plural.as_str(), call.path.subresource.as_str());
    match (named, call.verb) {
        ((_, _, "status"), _) if !call.resource.has_status => Err(ApiError::no_such_path()),
        ((_, _, "status"), "get") => read::get(call),
        ((_, _, "status"), "update") => write::replace(call, body).await,
        ((_, _, "status"), "patch") => write::patch(call, body).await,
        ((_, _, "scale"), "get" | "update" | "patch") => scale::handle(call, body).await,
        ((_, _, "scale"), _) if call.resource.scale.is_some() => Err(ApiError::method_not_allowed()),
        (("", "pods", "ephemeralcontainers" | "resize"), _) => Err(ApiError::not_found_because(format!(
            "the local API server does not offer the {} sub-resource of pods",
            call.path.subresource
        ))),
        (("", "pods", "binding"), "create") => write::bind(call, body).await,
        (("", "pods", "eviction"), "create") => delete::evict(call, body).await,
        (("", "namespaces", "finalize"), "update") => write::replace(call, body).await,
        (("", "serviceaccounts", "token"), "create") => review::token_request(call, body),
        (("", "pods", "binding" | "eviction"), _)
        | (("", "namespaces", "finalize"), _)
        | (("", "serviceaccounts", "token"), _)
        | ((_, _, "status"), _) => Err(ApiError::method_not_allowed()),
        _ => Err(ApiError::no_such_path()),
    }
}

/// Reads a body within the limit.
pub async fn read_body(headers: &HeaderMap, body: Body) -> Result<Bytes> {
    let length = headers.get(header::CONTENT_LENGTH).and_then(|v| v.to_str().ok()?.parse::<usize>().ok());
    if length.is_some_and(|n| n > MAX_BODY) {
        return Err(ApiError::too_large(MAX_BODY));
    }
    match Limited::new(body, MAX_BODY).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(e) if e.is::<http_body_util::LengthLimitError>() => Err(ApiError::too_large(MAX_BODY)),
        Err(e) => Err(ApiError::bad_request(format!("cannot read the request body: {e}"))),
    }
}
