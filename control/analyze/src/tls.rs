//! IST0128 and IST0129: TLS that verifies nobody.

use meltemi_config::AnyObject;
use meltemi_config::istio::destination_rule::{ClientTlsMode, ClientTlsSettings};
use meltemi_config::path::Path;

use crate::code;
use crate::context::{Context, error};

pub(crate) fn verification(context: &mut Context<'_>) {
    for (position, object) in context.objects.iter().enumerate() {
        let AnyObject::DestinationRule(object) = object else { continue };
        let Some(policy) = &object.spec.traffic_policy else { continue };
        let path = Path::root().key("spec").key("trafficPolicy");
        let cure = "set `caCertificates` (`system` for the system's roots) or `credentialName`";
        let rule = format!("{}/{}", object.meta.namespace, object.meta.name);
        if let Some(mode) = policy.tls.as_ref().and_then(unverified) {
            let message = format!(
                "DestinationRule {rule} in namespace {} has TLS mode set to {mode} but no caCertificates are set to validate server identity for host: {}",
                object.meta.namespace, object.spec.host
            );
            let found =
                error(code::NO_SERVER_CERTIFICATE_VERIFICATION_DESTINATION_LEVEL, path.key("tls"), message);
            context.add(position, found.cure(cure));
        }
        for (index, port) in policy.port_level_settings.iter().enumerate() {
            let Some(mode) = port.tls.as_ref().and_then(unverified) else { continue };
            let message = format!(
                "DestinationRule {rule} in namespace {} has TLS mode set to {mode} but no caCertificates are set to validate server identity for host: {} at port {}",
                object.meta.namespace,
                object.spec.host,
                port.port.as_ref().map_or(0, |port| port.number)
            );
            let path = path.key("portLevelSettings").index(index).key("tls");
            context.add(
                position,
                error(code::NO_SERVER_CERTIFICATE_VERIFICATION_PORT_LEVEL, path, message).cure(cure),
            );
        }
    }
}

fn unverified(tls: &ClientTlsSettings) -> Option<&'static str> {
    let mode = match tls.mode {
        ClientTlsMode::Simple => "SIMPLE",
        ClientTlsMode::Mutual => "MUTUAL",
        ClientTlsMode::Disable | ClientTlsMode::IstioMutual => return None,
    };
    let verified = !tls.ca_certificates.is_empty()
        || !tls.credential_name.is_empty()
        || tls.insecure_skip_verify.is_some();
    (!verified).then_some(mode)
}
