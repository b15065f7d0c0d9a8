//! Which endpoints go first because they are near.

use meltemi_config::istio::destination_rule::LocalityLbSetting;
use meltemi_mesh::service::Distribution;
use meltemi_mesh::{Endpoint, Locality, ProxyView, Snapshot};

use crate::cluster::ClusterSpec;

/// Where an endpoint runs, seen from the proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Node {
    /// On the proxy's node.
    Own,
    /// Elsewhere.
    Other,
    /// Nobody asks.
    Any,
}

pub(super) fn node(view: &ProxyView, endpoint: &Endpoint) -> Node {
    if !view.node.is_empty() && view.node == endpoint.node { Node::Own } else { Node::Other }
}

/// What the Service asks for, unless a DestinationRule says something of localities.
pub(super) fn by_distribution(spec: &ClusterSpec<'_>) -> Option<Distribution> {
    let asked = spec.service.distribution;
    (asked != Distribution::Any && own_setting(spec).is_none()).then_some(asked)
}

fn own_setting<'a>(spec: &'a ClusterSpec<'_>) -> Option<&'a LocalityLbSetting> {
    spec.policy.load_balancer.as_ref()?.locality_lb_setting.as_ref()
}

/// The priorities of groups of endpoints; all the same when nothing is preferred.
///
/// A Service that asks for near endpoints gets them without further ado. Otherwise they are preferred only with outlier
/// detection: without it a proxy would never learn that a near locality fails.
pub(super) fn priorities(
    snapshot: &Snapshot,
    view: &ProxyView,
    spec: &ClusterSpec<'_>,
    places: &[(&Locality, Node)],
) -> Vec<u32> {
    let distances: Vec<u32> = match by_distribution(spec) {
        Some(asked) => places.iter().map(|place| asked_distance(asked, &view.locality, *place)).collect(),
        None if spec.policy.outlier_detection.is_some() => {
            match (Rules { setting: own_setting(spec).or(mesh_setting(snapshot)) }).hold(view) {
                Some(rules) => places.iter().map(|(at, _)| rules.distance(&view.locality, at)).collect(),
                None => vec![0; places.len()],
            }
        }
        None => vec![0; places.len()],
    };
    // Envoy wants priorities without gaps.
    let mut used = distances.clone();
    used.sort_unstable();
    used.dedup();
    let rank = |distance| u32::try_from(used.binary_search(&distance).unwrap_or(0)).unwrap_or(0);
    distances.into_iter().map(rank).collect()
}

fn mesh_setting(snapshot: &Snapshot) -> Option<&LocalityLbSetting> {
    snapshot.settings.mesh.locality_lb_setting.as_ref()
}

fn asked_distance(asked: Distribution, own: &Locality, (at, node): (&Locality, Node)) -> u32 {
    if asked == Distribution::SameNode && node == Node::Own {
        return 0;
    }
    match (at.region == own.region, at.zone == own.zone) {
        (true, true) => 1,
        (true, false) => 2,
        (false, _) => 3,
    }
}

/// Settings about localities.
struct Rules<'a> {
    setting: Option<&'a LocalityLbSetting>,
}

impl Rules<'_> {
    /// Do they say which localities are near?
    fn hold(self, view: &ProxyView) -> Option<Self> {
        let enabled = self.setting.is_none_or(|s| s.enabled.unwrap_or(true));
        let distributed = self.setting.is_some_and(|s| !s.distribute.is_empty());
        (enabled && !distributed && !view.locality.region.is_empty()).then_some(self)
    }

    fn distance(&self, own: &Locality, other: &Locality) -> u32 {
        if other.region != own.region {
            let failover = self.setting.map(|s| s.failover.as_slice()).unwrap_or_default();
            let next = failover.iter().any(|rule| rule.from == own.region && rule.to == other.region);
            return if next { 3 } else { 4 };
        }
        match (other.zone == own.zone, other.sub_zone == own.sub_zone) {
            (true, true) => 0,
            (true, false) => 1,
            (false, _) => 2,
        }
    }
}

#[cfg(test)]
mod tests {
    use meltemi_mesh::{Change, ProxyIdentity, ProxyKind, Settings, World};
    use serde_json::{Value, json};

    use crate::Names;

    /// The addresses that a client on node n1 gets for a service, by priority.
    fn seen(service: Value, more: &[Value]) -> Vec<(u32, Vec<String>)> {
        let node = |name: &str, zone: &str| {
            json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": {
                "topology.kubernetes.io/region": "r", "topology.kubernetes.io/zone": zone}}})
        };
        let pod = |name: &str, node: &str, ip: &str| {
            json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "default"},
                "spec": {"nodeName": node, "containers": []}, "status": {"podIP": ip, "phase": "Running"}})
        };
        let places = [("a", "n1", "10.0.0.1"), ("b", "n2", "10.0.0.2"), ("c", "n3", "10.0.0.3")];
        let endpoints = places.map(|(pod, node, ip)| {
            json!({"addresses": [ip], "nodeName": node, "targetRef": {"kind": "Pod", "name": pod, "namespace": "default"}})
        });
        let mut objects = vec![node("n1", "z1"), node("n2", "z1"), node("n3", "z2"), service];
        objects.extend(places.map(|(name, node, ip)| pod(name, node, ip)));
        objects.push(
            json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
            "metadata": {"name": "x", "namespace": "default", "labels": {"kubernetes.io/service-name": "x"}},
            "ports": [{"name": "http", "port": 8080}], "endpoints": endpoints}),
        );
        objects.extend(more.iter().cloned());
        let mut world = World::new(Settings::default());
        for object in objects {
            world.apply(Change::Upsert(meltemi_config::parse(&object).unwrap()));
        }
        let snapshot = world.snapshot();
        let client = ProxyIdentity {
            kind: ProxyKind::Sidecar,
            name: "a".into(),
            namespace: "default".into(),
            ips: vec![],
            labels: Default::default(),
            service_account: "default".into(),
            metadata: Default::default(),
            extensions: Default::default(),
        };
        let view = meltemi_mesh::ProxyView::of(&snapshot, &client);
        let all = crate::endpoints(&snapshot, &view, &Names::All).into_iter().flat_map(|all| all.endpoints);
        let mut seen: Vec<(u32, Vec<String>)> = Vec::new();
        for group in all {
            let text = format!("{:?}", group.lb_endpoints);
            let ips = places.iter().filter(|(_, _, ip)| text.contains(ip)).map(|(_, _, ip)| (*ip).to_owned());
            seen.push((group.priority, ips.collect()));
        }
        seen.sort();
        seen
    }

    fn service(more: Value, annotation: &str) -> Value {
        let mut spec =
            json!({"clusterIP": "10.96.0.1", "ports": [{"name": "http", "port": 80, "targetPort": 8080}]});
        spec.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap_or_default());
        json!({"apiVersion": "v1", "kind": "Service", "spec": spec, "metadata": {"name": "x", "namespace": "default",
            "annotations": {"networking.istio.io/traffic-distribution": annotation}}})
    }

    fn ips(list: &[&str]) -> Vec<String> {
        list.iter().map(|last| format!("10.0.0.{last}")).collect()
    }

    #[test]
    fn near_endpoints_go_first_where_the_service_asks_for_them() {
        let any = vec![(0, ips(&["1", "2"])), (0, ips(&["3"]))];
        let zone = vec![(0, ips(&["1", "2"])), (1, ips(&["3"]))];
        let node = vec![(0, ips(&["1"])), (1, ips(&["2"])), (2, ips(&["3"]))];
        assert_eq!(seen(service(json!({}), ""), &[]), any);
        assert_eq!(seen(service(json!({"trafficDistribution": "PreferClose"}), "Any"), &[]), any);
        assert_eq!(seen(service(json!({}), "PreferClose"), &[]), zone);
        assert_eq!(seen(service(json!({}), "PreferSameNode"), &[]), node);
        let mut plain = service(json!({"trafficDistribution": "PreferSameZone"}), "");
        plain["metadata"].as_object_mut().unwrap().remove("annotations");
        assert_eq!(seen(plain, &[]), zone);
        let rule = json!({"apiVersion": "networking.istio.io/v1", "kind": "DestinationRule",
            "metadata": {"name": "x", "namespace": "default"}, "spec": {"host": "x", "trafficPolicy": {
                "loadBalancer": {"localityLbSetting": {"enabled": false}}}}});
        assert_eq!(seen(service(json!({}), "PreferClose"), &[rule]), any);
    }

    #[test]
    fn requests_to_a_local_service_stay_on_their_node() {
        assert_eq!(seen(service(json!({"internalTrafficPolicy": "Local"}), ""), &[]), [(0, ips(&["1"]))]);
    }
}
