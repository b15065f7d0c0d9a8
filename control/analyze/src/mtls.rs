//! IST0113: a client's TLS settings against what the server demands.

use meltemi_config::AnyObject;
use meltemi_config::istio::destination_rule::ClientTlsMode;
use meltemi_config::istio::peer_authentication::MutualTlsMode;
use meltemi_config::path::Path;
use meltemi_mesh::{Snapshot, host};

use crate::code;
use crate::context::{Context, error};

pub(crate) fn policies(context: &mut Context<'_>) {
    for (position, object) in context.objects.iter().enumerate() {
        let AnyObject::DestinationRule(object) = object else { continue };
        let Some(tls) = object.spec.traffic_policy.as_ref().and_then(|policy| policy.tls.as_ref()) else {
            continue;
        };
        if tls.mode == ClientTlsMode::IstioMutual || tls.mode == ClientTlsMode::Mutual {
            continue;
        }
        let hostname =
            host::resolve(&object.spec.host, &object.meta.namespace, &context.snapshot.settings.domain);
        let Some(service) = context.snapshot.service(&hostname, &object.meta.namespace) else { continue };
        if service.external {
            continue;
        }
        if let Some(policy) = strict_policy(context.snapshot, &service.key.namespace) {
            let path = Path::root().key("spec").key("trafficPolicy").key("tls").key("mode");
            let message = format!(
                "A DestinationRule and Policy are in conflict with regards to mTLS for host {hostname}. The DestinationRule {}/{} specifies that mTLS must be false but the Policy object {policy} specifies STRICT.",
                object.meta.namespace, object.meta.name
            );
            let cure = "use mode ISTIO_MUTUAL, or remove `tls` and let the mesh decide";
            context.add(position, error(code::MTLS_POLICY_CONFLICT, path, message).cure(cure));
        }
    }
}

/// The policy that makes a whole namespace strict: its own, or the mesh's.
fn strict_policy(snapshot: &Snapshot, namespace: &str) -> Option<String> {
    let whole = |of: &str| {
        snapshot.peer_authentications.iter().find(|policy| {
            policy.meta.namespace == of
                && policy.spec.selector.as_ref().is_none_or(|selector| selector.match_labels.is_empty())
                && policy.spec.mtls.is_some_and(|mtls| mtls.mode != MutualTlsMode::Unset)
        })
    };
    let policy = whole(namespace).or_else(|| whole(snapshot.settings.root_namespace()))?;
    let strict = policy.spec.mtls.is_some_and(|mtls| mtls.mode == MutualTlsMode::Strict);
    strict.then(|| format!("{}/{}", policy.meta.namespace, policy.meta.name))
}
