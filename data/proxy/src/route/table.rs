//! The compiled route configuration.

use std::any::Any;
use std::sync::Arc;

use meltemi_proto::envoy::config::core::v3::Metadata;

use super::action::Action;
use super::headers::Mutations;
use super::matching::RouteMatch;
use crate::base::head::RequestHead;
use crate::matcher::domain::DomainIndex;

/// Settings of HTTP filters for one route, by filter name; the most specific level wins.
pub type PerFilter = Vec<(Arc<str>, Arc<dyn Any + Send + Sync>)>;

/// All virtual hosts of one route configuration.
#[derive(Debug, Default)]
pub struct RouteTable {
    /// Its name.
    pub name: Arc<str>,
    /// Virtual hosts, in order.
    pub hosts: Vec<VirtualHost>,
    /// From a domain to a virtual host.
    pub domains: DomainIndex,
    /// The port of the authority is ignored.
    pub ignore_port: bool,
}

/// A virtual host.
#[derive(Debug)]
pub struct VirtualHost {
    /// Its name.
    pub name: Arc<str>,
    /// Routes, first match wins.
    pub routes: Vec<Arc<Route>>,
    /// Plain HTTP requests are redirected to HTTPS.
    pub require_tls: bool,
}

/// A route: a condition and an action.
pub struct Route {
    /// Its name; may be empty.
    pub name: Arc<str>,
    /// The virtual host it belongs to.
    pub host: Arc<str>,
    /// When it applies.
    pub matching: RouteMatch,
    /// What it does.
    pub action: Action,
    /// Changes to headers, the route's own first.
    pub mutations: Mutations,
    /// Settings of filters.
    pub per_filter: PerFilter,
    /// Route metadata, as sent.
    pub metadata: Option<Metadata>,
    /// `x-envoy-attempt-count` is sent upstream and downstream.
    pub attempt_count: (bool, bool),
}

impl std::fmt::Debug for Route {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Route").field("name", &self.name).field("host", &self.host).finish_non_exhaustive()
    }
}

/// What the table says of a request.
#[derive(Debug)]
pub enum Decision {
    /// A route matched.
    Route(Arc<Route>),
    /// The virtual host wants HTTPS.
    RequireTls,
    /// Nothing matched.
    None,
}

impl RouteTable {
    /// Finds the route for a request. `random` is uniformly drawn and decides runtime fractions.
    pub fn decide(&self, head: &RequestHead, random: u64) -> Decision {
        let Some(host) = self.virtual_host(&head.authority) else { return Decision::None };
        if host.require_tls && head.scheme != "https" {
            return Decision::RequireTls;
        }
        host.routes
            .iter()
            .find(|route| route.matching.is_match(head, random))
            .map_or(Decision::None, |route| Decision::Route(route.clone()))
    }

    fn virtual_host(&self, authority: &str) -> Option<&VirtualHost> {
        let authority = if self.ignore_port { without_port(authority) } else { authority };
        self.hosts.get(self.domains.find(authority)?)
    }
}

impl Route {
    /// This route's settings for a filter.
    pub fn filter<T: Any + Send + Sync>(&self, name: &str) -> Option<&T> {
        self.per_filter.iter().find(|(key, _)| **key == *name)?.1.downcast_ref()
    }
}

/// An authority without its port; brackets of IPv6 addresses stay.
pub fn without_port(authority: &str) -> &str {
    match authority.rsplit_once(':') {
        Some((host, port))
            if !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()) && !is_bare_v6(host) =>
        {
            host
        }
        _ => authority,
    }
}

fn is_bare_v6(host: &str) -> bool {
    host.contains(':') && !host.starts_with('[')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_recognized() {
        assert_eq!(without_port("a.b:80"), "a.b");
        assert_eq!(without_port("[::1]:80"), "[::1]");
        assert_eq!(without_port("::1"), "::1");
        assert_eq!(without_port("a.b"), "a.b");
    }
}
