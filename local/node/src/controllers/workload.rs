//! What all controllers of pods share: templates and their hashes, ownership, readiness, and names.

use k8s_openapi::api::core::v1::{Pod, PodTemplateSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use kube::api::{Api, DeleteParams, PostParams};
use kube::{Client, Resource, ResourceExt as _};

use super::{Fault, ownership};

/// The label that tells the pods of one revision of a Deployment from those of another.
pub const TEMPLATE_HASH: &str = "pod-template-hash";

/// A short, stable name for the content of a template, in the alphabet that Kubernetes uses for generated names.
pub fn template_hash(template: &PodTemplateSpec, collisions: i32) -> String {
    let mut template = template.clone();
    if let Some(labels) = template.metadata.as_mut().and_then(|meta| meta.labels.as_mut()) {
        labels.remove(TEMPLATE_HASH);
    }
    let text = serde_json::to_vec(&template).unwrap_or_default();
    // FNV-1a: short and stable; a collision only makes the controller count up and hash again.
    let mut hash = 0xcbf2_9ce4_8422_2325_u64 ^ u64::from(collisions.unsigned_abs());
    for byte in text {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    safe_text(hash, 10)
}

/// Digits and consonants without look-alikes, so that no word appears by accident.
const SAFE: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";

fn safe_text(mut number: u64, length: usize) -> String {
    let mut text = String::with_capacity(length);
    for _ in 0..length {
        let index = usize::try_from(number % SAFE.len() as u64).unwrap_or(0);
        text.push(char::from(SAFE[index]));
        number /= SAFE.len() as u64;
    }
    text
}

/// The five characters that end a generated pod's name.
pub fn random_suffix() -> String {
    safe_text(fastrand::u64(..), 5)
}

/// A label selector in the form of a list request.
pub fn selector_text(selector: &LabelSelector) -> String {
    let mut parts: Vec<String> =
        selector.match_labels.iter().flatten().map(|(name, value)| format!("{name}={value}")).collect();
    for rule in selector.match_expressions.iter().flatten() {
        let values = rule.values.clone().unwrap_or_default().join(",");
        parts.push(match rule.operator.as_str() {
            "In" => format!("{} in ({values})", rule.key),
            "NotIn" => format!("{} notin ({values})", rule.key),
            "Exists" => rule.key.clone(),
            _ => format!("!{}", rule.key),
        });
    }
    parts.join(",")
}

/// A pod from a template, owned by `owner`.
pub fn pod_from<K>(owner: &K, name: String, template: &PodTemplateSpec) -> Pod
where
    K: Resource<DynamicType = ()>,
{
    let template_meta = template.metadata.clone().unwrap_or_default();
    let metadata = ObjectMeta {
        name: Some(name),
        generate_name: Some(format!("{}-", owner.name_any())),
        namespace: owner.namespace(),
        labels: template_meta.labels,
        annotations: template_meta.annotations,
        finalizers: template_meta.finalizers,
        owner_references: Some(ownership::controlled_by(owner)),
        ..ObjectMeta::default()
    };
    Pod { metadata, spec: template.spec.clone(), status: None }
}

/// Makes pods, each told by an event about their owner; the first failure is returned after all were tried, and told too.
pub async fn create<K>(client: &Client, owner: &K, made: Vec<Pod>) -> Result<(), Fault>
where
    K: Resource<DynamicType = ()>,
{
    let namespace = owner.meta().namespace.as_deref().unwrap_or("default");
    let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let parameters = PostParams::default();
    let creating = made.iter().map(|pod| pods.create(&parameters, pod));
    let outcomes = futures_util::future::join_all(creating).await;
    for pod in outcomes.iter().flatten() {
        let text = format!("Created pod: {}", pod.name_any());
        super::event(client, owner, "Normal", "SuccessfulCreate", &text).await;
    }
    match outcomes.into_iter().find_map(Result::err) {
        Some(error) => Err(not_created(client, owner, "Error creating", &error).await),
        None => Ok(()),
    }
}

/// Tells the owner's readers why something of it could not be made.
pub async fn not_created<K>(client: &Client, owner: &K, what: &str, error: &kube::Error) -> Fault
where
    K: Resource<DynamicType = ()>,
{
    let why = super::reason(error);
    super::trouble(client, owner, "FailedCreate", &format!("{what}: {why}")).await;
    Fault::Refused(why)
}

/// Deletes pods, each told by an event about their owner; one that is already gone is no failure.
pub async fn delete<K>(client: &Client, owner: &K, names: &[String]) -> Result<(), Fault>
where
    K: Resource<DynamicType = ()>,
{
    let namespace = owner.meta().namespace.as_deref().unwrap_or("default");
    let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
    for name in names {
        match pods.delete(name, &DeleteParams::background()).await {
            Ok(_) => {
                let text = format!("Deleted pod: {name}");
                super::event(client, owner, "Normal", "SuccessfulDelete", &text).await;
            }
            Err(error) if super::is_gone(&error) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Whether the pod counts: neither ended nor being deleted.
pub fn is_active(pod: &Pod) -> bool {
    pod.metadata.deletion_timestamp.is_none() && !matches!(phase(pod), "Succeeded" | "Failed")
}

/// The pod's phase, `Pending` while there is none.
pub fn phase(pod: &Pod) -> &str {
    pod.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or("Pending")
}

/// Whether the pod's condition `Ready` is true.
pub fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    conditions.iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

/// In which order pods are given up: not yet running ones first, then the youngest.
pub fn sort_for_deletion(pods: &mut [Pod]) {
    pods.sort_by_key(|pod| {
        let assigned = pod.spec.as_ref().is_some_and(|spec| spec.node_name.is_some());
        let created = pod.metadata.creation_timestamp.as_ref().map(|time| time.0);
        (assigned, phase(pod) == "Running", is_ready(pod), std::cmp::Reverse(created))
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn template(image: &str, hash: Option<&str>) -> PodTemplateSpec {
        let mut labels = json!({"app": "a"});
        if let Some(hash) = hash {
            labels[TEMPLATE_HASH] = hash.into();
        }
        let value =
            json!({"metadata": {"labels": labels}, "spec": {"containers": [{"name": "c", "image": image}]}});
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn the_hash_depends_on_the_template_alone() {
        let hash = template_hash(&template("x", None), 0);
        assert_eq!(hash.len(), 10);
        assert_eq!(hash, template_hash(&template("x", Some("abc")), 0), "its own label does not count");
        assert_ne!(hash, template_hash(&template("y", None), 0));
        assert_ne!(hash, template_hash(&template("x", None), 1));
    }

    #[test]
    fn selectors_as_text() {
        let selector = json!({"matchLabels": {"a": "b"}, "matchExpressions": [
            {"key": "c", "operator": "In", "values": ["d", "e"]}, {"key": "f", "operator": "DoesNotExist"}]});
        assert_eq!(selector_text(&serde_json::from_value(selector).unwrap()), "a=b,c in (d,e),!f");
    }
}
