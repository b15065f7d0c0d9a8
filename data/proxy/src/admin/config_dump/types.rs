//! Resources → the messages of `envoy.admin.v3`.

use meltemi_proto::envoy::admin::v3 as proto;
use meltemi_proto::google::protobuf::Timestamp;
use meltemi_proto::type_url;
use proto::ClientResourceStatus as Status;

use super::super::certs::timestamp;
use super::super::sources::{ConfigSource, Phase, Resource};
use super::Filtered;

pub(super) fn bootstrap(source: &dyn ConfigSource) -> proto::BootstrapConfigDump {
    let (bootstrap, loaded) = source.bootstrap();
    proto::BootstrapConfigDump { bootstrap: Some(bootstrap), last_updated: Some(timestamp(loaded)) }
}

fn updated(resource: &Resource) -> Option<Timestamp> {
    Some(timestamp(resource.updated))
}

fn version(resource: &Resource) -> String {
    resource.version.to_string()
}

fn error(resource: &Resource) -> Option<proto::UpdateFailureState> {
    let failure = resource.failure.as_ref()?;
    Some(proto::UpdateFailureState {
        failed_configuration: failure.body.clone(),
        last_update_attempt: Some(timestamp(failure.attempt)),
        details: failure.details.clone(),
        version_info: failure.version.to_string(),
    })
}

fn status(resource: &Resource) -> i32 {
    let status = match (&resource.failure, &resource.body) {
        (Some(_), _) => Status::Nacked,
        (None, Some(_)) => Status::Acked,
        (None, None) => Status::Requested,
    };
    status.into()
}

pub(super) fn clusters(source: &Filtered<'_>) -> proto::ClustersConfigDump {
    use proto::clusters_config_dump::{DynamicCluster, StaticCluster};
    let mut dump = proto::ClustersConfigDump {
        version_info: source.source.version(type_url::CLUSTER),
        ..Default::default()
    };
    for resource in source.resources(type_url::CLUSTER) {
        let last_updated = updated(&resource);
        if resource.is_static {
            dump.static_clusters.push(StaticCluster { cluster: resource.body, last_updated });
            continue;
        }
        let (version_info, error_state, client_status) =
            (version(&resource), error(&resource), status(&resource));
        let phase = resource.phase;
        let cluster =
            DynamicCluster { version_info, cluster: resource.body, last_updated, error_state, client_status };
        match phase {
            Phase::Warming => dump.dynamic_warming_clusters.push(cluster),
            Phase::Active | Phase::Draining => dump.dynamic_active_clusters.push(cluster),
        }
    }
    dump
}

pub(super) fn endpoints(source: &Filtered<'_>) -> proto::EndpointsConfigDump {
    use proto::endpoints_config_dump::{DynamicEndpointConfig, StaticEndpointConfig};
    let mut dump = proto::EndpointsConfigDump::default();
    for resource in source.resources(type_url::ENDPOINT) {
        let last_updated = updated(&resource);
        if resource.is_static {
            dump.static_endpoint_configs
                .push(StaticEndpointConfig { endpoint_config: resource.body, last_updated });
            continue;
        }
        dump.dynamic_endpoint_configs.push(DynamicEndpointConfig {
            version_info: version(&resource),
            error_state: error(&resource),
            client_status: status(&resource),
            endpoint_config: resource.body,
            last_updated,
        });
    }
    dump
}

pub(super) fn listeners(source: &Filtered<'_>) -> proto::ListenersConfigDump {
    use proto::listeners_config_dump::{DynamicListener, DynamicListenerState, StaticListener};
    let mut dump = proto::ListenersConfigDump {
        version_info: source.source.version(type_url::LISTENER),
        ..Default::default()
    };
    for resource in source.resources(type_url::LISTENER) {
        let last_updated = updated(&resource);
        if resource.is_static {
            dump.static_listeners.push(StaticListener { listener: resource.body, last_updated });
            continue;
        }
        let mut dynamic = DynamicListener {
            name: resource.name.to_string(),
            error_state: error(&resource),
            client_status: status(&resource),
            ..DynamicListener::default()
        };
        let version_info = version(&resource);
        let state = resource.body.map(|body| DynamicListenerState {
            version_info,
            listener: Some(body),
            last_updated,
        });
        match resource.phase {
            Phase::Warming => dynamic.warming_state = state,
            Phase::Active => dynamic.active_state = state,
            Phase::Draining => dynamic.draining_state = state,
        }
        // The states of one listener stand in one entry.
        match dump.dynamic_listeners.iter_mut().find(|known| known.name == dynamic.name) {
            Some(known) => {
                known.warming_state = known.warming_state.take().or(dynamic.warming_state);
                known.active_state = known.active_state.take().or(dynamic.active_state);
                known.draining_state = known.draining_state.take().or(dynamic.draining_state);
                known.error_state = known.error_state.take().or(dynamic.error_state);
            }
            None => dump.dynamic_listeners.push(dynamic),
        }
    }
    dump
}

pub(super) fn routes(source: &Filtered<'_>) -> proto::RoutesConfigDump {
    use proto::routes_config_dump::{DynamicRouteConfig, StaticRouteConfig};
    let mut dump = proto::RoutesConfigDump::default();
    for resource in source.resources(type_url::ROUTE) {
        let last_updated = updated(&resource);
        if resource.is_static {
            dump.static_route_configs.push(StaticRouteConfig { route_config: resource.body, last_updated });
            continue;
        }
        dump.dynamic_route_configs.push(DynamicRouteConfig {
            version_info: version(&resource),
            error_state: error(&resource),
            client_status: status(&resource),
            route_config: resource.body,
            last_updated,
        });
    }
    dump
}

pub(super) fn secrets(source: &Filtered<'_>) -> proto::SecretsConfigDump {
    use proto::secrets_config_dump::{DynamicSecret, StaticSecret};
    let mut dump = proto::SecretsConfigDump::default();
    for resource in source.resources(type_url::SECRET) {
        let (name, last_updated) = (resource.name.to_string(), updated(&resource));
        if resource.is_static {
            dump.static_secrets.push(StaticSecret { name, last_updated, secret: resource.body });
            continue;
        }
        let phase = resource.phase;
        let secret = DynamicSecret {
            name,
            version_info: version(&resource),
            error_state: error(&resource),
            client_status: status(&resource),
            secret: resource.body,
            last_updated,
        };
        match phase {
            Phase::Warming => dump.dynamic_warming_secrets.push(secret),
            Phase::Active | Phase::Draining => dump.dynamic_active_secrets.push(secret),
        }
    }
    dump
}

pub(super) fn extensions(source: &Filtered<'_>) -> proto::EcdsConfigDump {
    use proto::ecds_config_dump::EcdsFilterConfig;
    let filter = |resource: Resource| EcdsFilterConfig {
        version_info: version(&resource),
        error_state: error(&resource),
        client_status: status(&resource),
        last_updated: updated(&resource),
        ecds_filter: resource.body,
    };
    let all = source.resources(type_url::EXTENSION_CONFIG);
    proto::EcdsConfigDump { ecds_filters: all.into_iter().map(filter).collect() }
}
