//! What there is to say about objects.

use std::net::IpAddr;
use std::sync::Arc;

use meltemi_config::istio::Telemetry;
use meltemi_config::{AnyObject, Diagnostic, Kind, unsupported};
use meltemi_mesh::service::{Origin, Service};
use meltemi_mesh::{Resolution, Snapshot, host, status};

use crate::objects::Key;
use crate::sources::Problem;

/// One thing to say about an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Istio's code.
    pub code: &'static str,
    /// A word for programs.
    pub reason: &'static str,
    /// A sentence for people.
    pub message: String,
    /// Traffic is affected, or the object is not in force.
    pub error: bool,
}

/// The findings about an object that could not be read, or only in part.
pub fn of_problem(problem: &Problem) -> Vec<Finding> {
    let consequence =
        if problem.refused { "the object is not in force as it stands" } else { "the field is left out" };
    problem
        .errors
        .iter()
        .map(|error| Finding {
            code: meltemi_config::diagnostic::SCHEMA,
            reason: if problem.refused { "SchemaValidationError" } else { "UnknownField" },
            message: format!("{error}; {consequence}"),
            error: problem.refused,
        })
        .collect()
}

/// Objects that do nothing, and rules for hosts that nobody has. Only objects with findings are listed.
pub fn of_objects(objects: &[AnyObject], snapshot: &Snapshot) -> Vec<(Key, Vec<Finding>)> {
    let found = |object: &AnyObject| {
        let mut findings: Vec<Finding> =
            unsupported::object(object).iter().map(|gap| without_effect(object, gap)).collect();
        if let AnyObject::DestinationRule(rule) = object {
            findings.extend(missing_host(&rule.meta.namespace, &rule.spec.host, snapshot));
        }
        if let AnyObject::Telemetry(telemetry) = object {
            findings.extend(missing_providers(&telemetry.spec, snapshot));
        }
        if let AnyObject::WorkloadEntry(entry) = object {
            findings.extend(unusable_address(&entry.meta.namespace, &entry.meta.name, snapshot));
        }
        let key = (object.kind(), object.namespace().to_owned(), object.name().to_owned());
        (!findings.is_empty()).then_some((key, findings))
    };
    objects.iter().filter_map(found).collect()
}

/// A field that does nothing is worth a word; an object that does nothing is not in force.
fn without_effect(object: &AnyObject, gap: &Diagnostic) -> Finding {
    Finding {
        code: gap.code,
        reason: "NotSupported",
        message: gap.to_string(),
        error: unsupported::kind(object.kind()).is_some(),
    }
}

fn missing_host(namespace: &str, host: &str, snapshot: &Snapshot) -> Option<Finding> {
    let name = host::resolve(host, namespace, &snapshot.settings.domain);
    let known = match host::is_wildcard(&name) {
        true => snapshot.services_by_host.iter().any(|(service, _)| host::covered_by(service, &name)),
        false => !snapshot.services_named(&name).is_empty(),
    };
    (!known).then(|| Finding {
        code: "IST0101",
        reason: "HostNotFound",
        message: format!("no service has the host {name}; the rule applies to nothing. Create the Service or ServiceEntry, or correct the host"),
        error: true,
    })
}

/// Providers that a Telemetry sends access logs to and that MeshConfig has not, or not as a file.
fn missing_providers(telemetry: &Telemetry, snapshot: &Snapshot) -> Vec<Finding> {
    let known = &snapshot.settings.mesh.extension_providers;
    let writes = |name: &str| known.iter().any(|p| p.name == name && p.envoy_file_access_log.is_some());
    let named = telemetry.access_logging.iter().flat_map(|logging| &logging.providers);
    let missing = named.filter(|provider| !writes(&provider.name)).map(|provider| Finding {
        code: unsupported::CODE,
        reason: "ProviderNotFound",
        message: format!("MeshConfig has no extension provider {:?} that writes access logs to a file; nothing is logged there. Add it to `extensionProviders` with `envoyFileAccessLog`, or name another", provider.name),
        error: false,
    });
    missing.collect()
}

/// A host name of a workload that is behind a service of fixed addresses: no proxy would resolve it.
fn unusable_address(namespace: &str, name: &str, snapshot: &Snapshot) -> Option<Finding> {
    let workload = snapshot.workload_entries.get(namespace, name)?;
    let usable = |address: &String| address.starts_with("unix://") || address.parse::<IpAddr>().is_ok();
    let address = workload.addresses.iter().find(|address| !usable(address))?;
    let fixed = |service: &&Arc<Service>| {
        service.origin == Origin::ServiceEntry
            && service.resolution == Resolution::Endpoints
            && service.selects(&workload.labels)
    };
    let service = snapshot.services.of(namespace).find(fixed)?;
    Some(Finding {
        code: unsupported::CODE,
        reason: "AddressNotResolved",
        message: format!(
            "{address:?} is a host name, but the ServiceEntry of {} has resolution STATIC; it gets no requests. Write an IP address, or use resolution DNS",
            service.key.hostname
        ),
        error: true,
    })
}

/// References of routes that lead nowhere. Only objects with findings are listed.
pub fn of_snapshot(snapshot: &Snapshot) -> Vec<(Key, Vec<Finding>)> {
    let mut all = Vec::new();
    for service in snapshot.virtual_services.iter() {
        let missing = status::of_virtual_service(snapshot, service);
        if missing.is_empty() {
            continue;
        }
        let findings = missing.iter().map(|missing| Finding {
            code: "IST0101",
            reason: missing.reason(),
            message: missing.to_string(),
            error: true,
        });
        let meta = &service.object.meta;
        let key = (Kind::VirtualService, meta.namespace.clone(), meta.name.clone());
        all.push((key, findings.collect()));
    }
    all
}
