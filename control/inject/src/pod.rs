//! A read-only look at a pod, and the workload it belongs to.

use serde_json::{Map, Value};

/// The container that every template fills.
pub(crate) const PROXY_CONTAINER: &str = "istio-proxy";
/// The init container that redirects traffic.
pub(crate) const INIT_CONTAINER: &str = "istio-init";

/// A pod (or pod template): its `metadata` and its `spec`.
#[derive(Clone, Copy)]
pub(crate) struct PodRef<'a>(pub(crate) &'a Value);

impl<'a> PodRef<'a> {
    pub(crate) fn annotation(self, name: &str) -> Option<&'a str> {
        self.0.get("metadata")?.get("annotations")?.get(name)?.as_str()
    }

    pub(crate) fn label(self, name: &str) -> Option<&'a str> {
        self.0.get("metadata")?.get("labels")?.get(name)?.as_str()
    }

    pub(crate) fn annotations(self) -> impl Iterator<Item = (&'a str, &'a str)> {
        let map = self.0.get("metadata").and_then(|metadata| metadata.get("annotations")?.as_object());
        map.into_iter().flatten().filter_map(|(name, value)| Some((name.as_str(), value.as_str()?)))
    }

    pub(crate) fn spec(self, field: &str) -> Option<&'a Value> {
        self.0.get("spec")?.get(field)
    }

    /// The entries of `spec.containers` or `spec.initContainers`.
    pub(crate) fn containers(self, list: &str) -> &'a [Value] {
        self.spec(list).and_then(Value::as_array).map_or(&[], Vec::as_slice)
    }

    /// The container that the user wrote under `name`, wherever it stands.
    pub(crate) fn find_container(self, name: &str) -> Option<&'a Value> {
        ["containers", "initContainers"]
            .into_iter()
            .flat_map(|list| self.containers(list))
            .find(|container| self::name(container) == name)
    }
}

/// A named thing's name; empty when it has none.
pub(crate) fn name(value: &Value) -> &str {
    value.get("name").and_then(Value::as_str).unwrap_or_default()
}

/// The object under `key`, made if it is missing or not an object.
pub(crate) fn object<'a>(parent: &'a mut Value, key: &str) -> &'a mut Map<String, Value> {
    child(parent, key, Value::is_object, || Value::Object(Map::new()))
        .as_object_mut()
        .unwrap_or_else(|| unreachable!("just made an object"))
}

/// The array under `key`, made if it is missing or not an array.
pub(crate) fn array<'a>(parent: &'a mut Value, key: &str) -> &'a mut Vec<Value> {
    child(parent, key, Value::is_array, || Value::Array(Vec::new()))
        .as_array_mut()
        .unwrap_or_else(|| unreachable!("just made an array"))
}

fn child<'a>(
    parent: &'a mut Value,
    key: &str,
    fits: fn(&Value) -> bool,
    make: fn() -> Value,
) -> &'a mut Value {
    if !parent.is_object() {
        *parent = Value::Object(Map::new());
    }
    let slot = &mut parent[key];
    if !fits(slot) {
        *slot = make();
    }
    slot
}

/// The workload that made a pod: what metrics and traces call it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Workload {
    pub(crate) api_version: String,
    pub(crate) kind: String,
    pub(crate) name: String,
}

impl Workload {
    /// Finds the workload by the controlling owner; what owns the owner is known by naming rules only, since the
    /// admission request carries the pod alone.
    pub(crate) fn of(pod: PodRef<'_>) -> Self {
        let metadata = pod.0.get("metadata");
        let own_name = metadata.map(name).unwrap_or_default();
        let generate_name =
            metadata.and_then(|metadata| metadata.get("generateName")?.as_str()).unwrap_or_default();
        let pod_name = if own_name.is_empty() { generate_name.trim_end_matches('-') } else { own_name };
        let owners = metadata.and_then(|metadata| metadata.get("ownerReferences")?.as_array());
        let controller = owners
            .into_iter()
            .flatten()
            .find(|owner| owner.get("controller").and_then(Value::as_bool) == Some(true));
        let Some(owner) = controller else { return Self::new("v1", "Pod", pod_name) };
        let text = |field| owner.get(field).and_then(Value::as_str).unwrap_or_default();
        Self::of_owner(pod, text("apiVersion"), text("kind"), text("name"))
    }

    fn new(api_version: &str, kind: &str, name: &str) -> Self {
        Self { api_version: api_version.to_owned(), kind: kind.to_owned(), name: name.to_owned() }
    }

    fn of_owner(pod: PodRef<'_>, api_version: &str, kind: &str, name: &str) -> Self {
        let hash = pod.label("pod-template-hash").unwrap_or_default();
        match kind {
            "ReplicaSet" if !hash.is_empty() => match name.strip_suffix(&format!("-{hash}")) {
                Some(deployment) => Self::new("apps/v1", "Deployment", deployment),
                None => Self::new(api_version, kind, name),
            },
            "Job" => match name.rsplit_once('-') {
                // A CronJob names its Jobs after the scheduled minute.
                Some((cron, minute)) if minute.len() >= 8 && minute.bytes().all(|b| b.is_ascii_digit()) => {
                    Self::new("batch/v1", "CronJob", cron)
                }
                _ => Self::new("batch/v1", "Job", name),
            },
            _ => Self::new(api_version, kind, name),
        }
    }

    /// `kubernetes://apis/apps/v1/namespaces/default/deployments/reviews-v1`.
    pub(crate) fn owner_url(&self, namespace: &str) -> String {
        let Self { api_version, kind, name } = self;
        format!("kubernetes://apis/{api_version}/namespaces/{namespace}/{}s/{name}", kind.to_lowercase())
    }
}

/// The service a pod belongs to in metrics, and its revision.
pub(crate) fn canonical_service(pod: PodRef<'_>, workload: &Workload) -> (String, String) {
    let first =
        |labels: &[&str]| labels.iter().find_map(|label| pod.label(label).filter(|value| !value.is_empty()));
    let name = first(&["service.istio.io/canonical-name", "app.kubernetes.io/name", "app"]);
    let revision = first(&["service.istio.io/canonical-revision", "app.kubernetes.io/version", "version"]);
    (name.unwrap_or(&workload.name).to_owned(), revision.unwrap_or("latest").to_owned())
}
