//! `RouteConfiguration` → [`RouteTable`].

mod forward;

use std::any::Any as StdAny;
use std::collections::HashMap;
use std::sync::Arc;

use http::StatusCode;
use meltemi_proto::envoy::config::route::v3 as proto;
use meltemi_proto::envoy::config::route::v3::redirect_action::{
    PathRewriteSpecifier, SchemeRewriteSpecifier,
};
use meltemi_proto::envoy::config::route::v3::virtual_host::TlsRequirementType;
use meltemi_proto::google::protobuf::Any;

use super::action::{Action, Direct, Redirect};
use super::headers::{Lists, Mutations};
use super::matching::RouteMatch;
use super::retry::RetryPolicy;
use super::rewrite::PathRewrite;
use super::table::{PerFilter, Route, RouteTable, VirtualHost};
use crate::base::reject::{At, Compiled, Reject, each, required, unsupported};
use crate::base::slot::Slots;
use crate::matcher::domain::DomainIndex;
use crate::matcher::regex::Substitution;
use crate::tls::secret::read;
use crate::upstream::Cluster;

/// Largest body of a direct response, as Envoy's default.
const LARGEST_BODY: usize = 4096;

/// Compiles a filter's settings for one route. `None`: the filter is not one we know, or has no such settings.
pub type CompilePerFilter<'a> = &'a dyn Fn(&str, &Any) -> Compiled<Option<Arc<dyn StdAny + Send + Sync>>>;

/// What compiling routes needs besides the proto.
#[derive(Clone, Copy)]
pub struct Deps<'a> {
    /// Clusters by name.
    pub clusters: &'a Arc<Slots<Cluster>>,
    /// Settings of filters.
    pub per_filter: CompilePerFilter<'a>,
}

/// Compiles a route configuration.
pub fn compile(config: &proto::RouteConfiguration, deps: Deps<'_>) -> Compiled<RouteTable> {
    if config.vhds.is_some() {
        return Err(Reject::new("vhds", "virtual host discovery is not supported"));
    }
    let outer = Level {
        mutations: Mutations::compile(Lists {
            request_add: &config.request_headers_to_add,
            request_remove: &config.request_headers_to_remove,
            response_add: &config.response_headers_to_add,
            response_remove: &config.response_headers_to_remove,
        })?,
        per_filter: per_filter(&config.typed_per_filter_config, deps)?,
        largest_body: config
            .max_direct_response_body_size_bytes
            .as_ref()
            .map_or(LARGEST_BODY, |v| v.value as usize),
        specific_wins: config.most_specific_header_mutations_wins,
    };
    let mut domains = DomainIndex::default();
    for (index, host) in config.virtual_hosts.iter().enumerate() {
        for domain in &host.domains {
            domains.insert(domain, index).at(format_args!("virtual_hosts[{index}]"))?;
        }
    }
    Ok(RouteTable {
        name: config.name.as_str().into(),
        hosts: each("virtual_hosts", &config.virtual_hosts, |host| virtual_host(host, &outer, deps))?,
        domains,
        ignore_port: config.ignore_port_in_host_matching,
    })
}

/// What an outer level hands to the routes in it.
struct Level {
    mutations: Mutations,
    per_filter: PerFilter,
    largest_body: usize,
    specific_wins: bool,
}

fn virtual_host(host: &proto::VirtualHost, outer: &Level, deps: Deps<'_>) -> Compiled<VirtualHost> {
    if host.name.is_empty() {
        return Err(Reject::new("name", "is empty"));
    }
    if host.domains.is_empty() {
        return Err(Reject::new("domains", "is empty"));
    }
    unsupported(&[
        (host.matcher.is_some(), "matcher"),
        (host.hedge_policy.is_some(), "hedge_policy"),
        (host.retry_policy_typed_config.is_some(), "retry_policy_typed_config"),
        (host.require_tls() == TlsRequirementType::ExternalOnly, "require_tls: EXTERNAL_ONLY"),
    ])?;
    let own = Mutations::compile(Lists {
        request_add: &host.request_headers_to_add,
        request_remove: &host.request_headers_to_remove,
        response_add: &host.response_headers_to_add,
        response_remove: &host.response_headers_to_remove,
    })?;
    let level = Level {
        mutations: joined(&own, &outer.mutations, outer.specific_wins),
        per_filter: overlaid(&outer.per_filter, per_filter(&host.typed_per_filter_config, deps)?),
        largest_body: outer.largest_body,
        specific_wins: outer.specific_wins,
    };
    let context = HostContext {
        name: host.name.as_str().into(),
        level,
        retry: host.retry_policy.as_ref().map(RetryPolicy::compile).transpose().at("retry_policy")?,
        mirrors: forward::mirrors(&host.request_mirror_policies, deps)?,
        attempt_count: (host.include_request_attempt_count, host.include_attempt_count_in_response),
        deps,
    };
    Ok(VirtualHost {
        name: context.name.clone(),
        routes: each("routes", &host.routes, |route| context.route(route).map(Arc::new))
            .map_err(|r| if host.name.is_empty() { r } else { r.at(format_args!("({})", host.name)) })?,
        require_tls: host.require_tls() != TlsRequirementType::None,
    })
}

/// What a virtual host hands to its routes.
struct HostContext<'a> {
    name: Arc<str>,
    level: Level,
    retry: Option<RetryPolicy>,
    mirrors: Vec<super::action::Mirror>,
    attempt_count: (bool, bool),
    deps: Deps<'a>,
}

impl HostContext<'_> {
    fn route(&self, proto: &proto::Route) -> Compiled<Route> {
        let matching = RouteMatch::compile(required("match", &proto.r#match)?).at("match")?;
        let own = Mutations::compile(Lists {
            request_add: &proto.request_headers_to_add,
            request_remove: &proto.request_headers_to_remove,
            response_add: &proto.response_headers_to_add,
            response_remove: &proto.response_headers_to_remove,
        })?;
        let own_filters = per_filter(&proto.typed_per_filter_config, self.deps)?;
        Ok(Route {
            name: proto.name.as_str().into(),
            host: self.name.clone(),
            matching,
            action: self.action(proto)?,
            mutations: joined(&own, &self.level.mutations, self.level.specific_wins),
            per_filter: overlaid(&self.level.per_filter, own_filters),
            metadata: proto.metadata.clone(),
            attempt_count: self.attempt_count,
        })
    }

    fn action(&self, proto: &proto::Route) -> Compiled<Action> {
        use proto::route::Action as Kind;
        match required("action", &proto.action)? {
            Kind::Route(action) => {
                forward::compile(action, self).map(|forward| Action::Forward(Box::new(forward))).at("route")
            }
            Kind::Redirect(action) => redirect(action).map(Action::Redirect).at("redirect"),
            Kind::DirectResponse(action) => {
                direct(action, self.level.largest_body).map(Action::Direct).at("direct_response")
            }
            Kind::FilterAction(_) => Err(Reject::new("filter_action", "is not supported")),
            Kind::NonForwardingAction(_) => {
                Err(Reject::new("non_forwarding_action", "is for servers, not for a proxy"))
            }
        }
    }
}

/// The route's own changes come first, then those of the levels around it; the order turns when the most specific wins.
fn joined(inner: &Mutations, outer: &Mutations, specific_wins: bool) -> Mutations {
    let (first, second) = if specific_wins { (outer, inner) } else { (inner, outer) };
    let mut all = first.clone();
    all.extend(second);
    all
}

fn overlaid(outer: &PerFilter, inner: PerFilter) -> PerFilter {
    let mut all = inner;
    for (name, config) in outer {
        if !all.iter().any(|(key, _)| key == name) {
            all.push((name.clone(), config.clone()));
        }
    }
    all
}

fn per_filter(configs: &HashMap<String, Any>, deps: Deps<'_>) -> Compiled<PerFilter> {
    let mut all = PerFilter::new();
    for (name, any) in configs {
        let compiled = (deps.per_filter)(name, any).at(format_args!("typed_per_filter_config[{name}]"))?;
        all.extend(compiled.map(|config| (Arc::from(name.as_str()), config)));
    }
    Ok(all)
}

fn redirect(proto: &proto::RedirectAction) -> Compiled<Redirect> {
    use proto::redirect_action::RedirectResponseCode as Code;
    let status = match proto.response_code() {
        Code::MovedPermanently => StatusCode::MOVED_PERMANENTLY,
        Code::Found => StatusCode::FOUND,
        Code::SeeOther => StatusCode::SEE_OTHER,
        Code::TemporaryRedirect => StatusCode::TEMPORARY_REDIRECT,
        Code::PermanentRedirect => StatusCode::PERMANENT_REDIRECT,
    };
    let scheme = match &proto.scheme_rewrite_specifier {
        Some(SchemeRewriteSpecifier::HttpsRedirect(true)) => Some("https".to_owned()),
        Some(SchemeRewriteSpecifier::SchemeRedirect(scheme)) => Some(scheme.clone()),
        _ => None,
    };
    let (path, rewrite) = match &proto.path_rewrite_specifier {
        None => (None, PathRewrite::None),
        Some(PathRewriteSpecifier::PathRedirect(path)) => (Some(path.clone()), PathRewrite::None),
        Some(PathRewriteSpecifier::PrefixRewrite(prefix)) => (None, PathRewrite::Prefix(prefix.clone())),
        Some(PathRewriteSpecifier::RegexRewrite(regex)) => {
            (None, PathRewrite::Regex(Substitution::compile(regex).at("regex_rewrite")?))
        }
        Some(_) => return Err(Reject::new("path_rewrite_specifier", "this form is not supported")),
    };
    let port = match u16::try_from(proto.port_redirect) {
        Ok(port) => Some(port).filter(|p| *p > 0),
        Err(_) => return Err(Reject::new("port_redirect", "is not a port")),
    };
    let host = Some(proto.host_redirect.clone()).filter(|h| !h.is_empty());
    Ok(Redirect { status, scheme, host, port, path, rewrite, strip_query: proto.strip_query })
}

fn direct(proto: &proto::DirectResponseAction, largest: usize) -> Compiled<Direct> {
    let status = u16::try_from(proto.status).ok().and_then(|s| StatusCode::from_u16(s).ok());
    let status = status.filter(|s| s.as_u16() >= 200).ok_or_else(|| {
        Reject::new("status", format!("{} is not a final HTTP status (200-599)", proto.status))
    })?;
    let body = match &proto.body {
        Some(source) => read("body", source)?,
        None => Vec::new(),
    };
    if body.len() > largest {
        return Err(Reject::new("body", format!("is {} bytes long, the limit is {largest}", body.len())));
    }
    Ok(Direct { status, body: body.into() })
}

#[cfg(test)]
mod tests;
