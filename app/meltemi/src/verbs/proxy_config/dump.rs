//! A proxy's config dump, as Envoy's admin interface gives it.

use anyhow::{Context as _, bail};
use serde_json::Value;

use super::value::{at, list};

/// A dump.
#[derive(Debug)]
pub struct Dump(Value);

impl Dump {
    /// Reads a dump.
    ///
    /// # Errors
    /// When the text is not JSON, or not a dump.
    pub fn parse(text: &str) -> anyhow::Result<Self> {
        let value: Value = serde_json::from_str(text).context("not JSON")?;
        if value.get("configs").is_none_or(|configs| !configs.is_array()) {
            bail!(
                "not an Envoy config dump: it has no list \"configs\"; make one with `meltemi proxy-config all <pod> -o json`"
            );
        }
        Ok(Dump(value))
    }

    /// Everything.
    pub fn value(&self) -> &Value {
        &self.0
    }

    /// The section of a message of `envoy.admin.v3`, such as `ClustersConfigDump`.
    fn section(&self, kind: &str) -> &Value {
        static NONE: Value = Value::Null;
        let wanted = |section: &&Value| {
            section.get("@type").and_then(Value::as_str).is_some_and(|t| t.rsplit('.').next() == Some(kind))
        };
        list(&self.0, "configs").iter().find(wanted).unwrap_or(&NONE)
    }

    fn bodies<'a>(&'a self, kind: &str, places: &[(&str, &str)]) -> Vec<&'a Value> {
        let section = self.section(kind);
        let all =
            places.iter().flat_map(|(field, body)| list(section, field).iter().map(|item| at(item, body)));
        all.filter(|body| body.is_object()).collect()
    }

    /// What came by xDS: clusters, listeners, routes.
    pub fn dynamic(&self) -> [Vec<&Value>; 3] {
        [
            self.bodies("ClustersConfigDump", &[("dynamic_active_clusters", "cluster")]),
            self.bodies("ListenersConfigDump", &[("dynamic_listeners", "active_state.listener")]),
            self.bodies("RoutesConfigDump", &[("dynamic_route_configs", "route_config")]),
        ]
    }

    /// Clusters, static ones first.
    pub fn clusters(&self) -> Vec<&Value> {
        self.bodies(
            "ClustersConfigDump",
            &[("static_clusters", "cluster"), ("dynamic_active_clusters", "cluster")],
        )
    }

    /// Listeners, dynamic ones first.
    pub fn listeners(&self) -> Vec<&Value> {
        let places = [("dynamic_listeners", "active_state.listener"), ("static_listeners", "listener")];
        self.bodies("ListenersConfigDump", &places)
    }

    /// Route configurations, dynamic ones first.
    pub fn routes(&self) -> Vec<&Value> {
        let places = [("dynamic_route_configs", "route_config"), ("static_route_configs", "route_config")];
        self.bodies("RoutesConfigDump", &places)
    }

    /// Endpoints by cluster, when the dump was made with `include_eds`.
    pub fn endpoints(&self) -> Vec<&Value> {
        let places =
            [("dynamic_endpoint_configs", "endpoint_config"), ("static_endpoint_configs", "endpoint_config")];
        self.bodies("EndpointsConfigDump", &places)
    }

    /// Secrets with their state: `ACTIVE` or `WARMING`.
    pub fn secrets(&self) -> Vec<(&'static str, &Value)> {
        let section = self.section("SecretsConfigDump");
        let of = |field: &str, state: &'static str| {
            list(section, field).iter().map(move |secret| (state, secret)).collect::<Vec<_>>()
        };
        let mut all = of("dynamic_active_secrets", "ACTIVE");
        all.extend(of("static_secrets", "ACTIVE"));
        all.extend(of("dynamic_warming_secrets", "WARMING"));
        all
    }

    /// The bootstrap.
    pub fn bootstrap(&self) -> &Value {
        at(self.section("BootstrapConfigDump"), "bootstrap")
    }
}
