//! Tables of statistics, as types: one method a statistic.

/// Declares a struct of statistics under a common prefix.
///
/// ```
/// meltemi_proxy::stat_group! {
///     /// Statistics of a door.
///     pub struct DoorStats {
///         counters { opened, slammed = "slammed.loudly" }
///         gauges { open }
///         histograms { stay_ms }
///     }
/// }
/// let registry = meltemi_proxy::telemetry::stats::Registry::new(1, Default::default());
/// let door = DoorStats::new(&registry, "door.front.");
/// door.opened().inc();
/// door.stay_ms().record(20);
/// ```
#[macro_export]
macro_rules! stat_group {
    (
        $(#[$meta:meta])*
        pub struct $type:ident {
            counters { $($counter:ident $(= $counter_name:literal)?),* $(,)? }
            gauges { $($gauge:ident $(= $gauge_name:literal)?),* $(,)? }
            histograms { $($histogram:ident $(= $histogram_name:literal)?),* $(,)? }
        }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Debug)]
        pub struct $type(std::sync::Arc<$crate::telemetry::stats::Group>);

        const _: () = {
            #[allow(unused_imports)]
            use $crate::telemetry::stats::{Counter, Gauge, Histogram, Registry, group::{Def, Kind}};

            #[allow(non_camel_case_types, dead_code)]
            enum Index { $($counter,)* $($gauge,)* }
            #[allow(non_camel_case_types, dead_code)]
            enum HistogramIndex { $($histogram,)* }

            static TABLE: &[Def] = &[
                $(Def { name: $crate::stat_group!(@name $counter $($counter_name)?), kind: Kind::Counter },)*
                $(Def { name: $crate::stat_group!(@name $gauge $($gauge_name)?), kind: Kind::Gauge },)*
                $(Def { name: $crate::stat_group!(@name $histogram $($histogram_name)?), kind: Kind::Histogram },)*
            ];

            impl $type {
                /// The statistics under `prefix`, which ends with a dot.
                pub fn new(registry: &Registry, prefix: &str) -> Self {
                    $type(registry.group(prefix, stringify!($type), TABLE))
                }
                $(
                    #[doc = concat!("Counter `", $crate::stat_group!(@name $counter $($counter_name)?), "`.")]
                    #[inline]
                    pub fn $counter(&self) -> Counter<'_> { self.0.counter(Index::$counter as usize) }
                )*
                $(
                    #[doc = concat!("Gauge `", $crate::stat_group!(@name $gauge $($gauge_name)?), "`.")]
                    #[inline]
                    pub fn $gauge(&self) -> Gauge<'_> { self.0.gauge(Index::$gauge as usize) }
                )*
                $(
                    #[doc = concat!("Histogram `", $crate::stat_group!(@name $histogram $($histogram_name)?), "`.")]
                    #[inline]
                    pub fn $histogram(&self) -> Histogram<'_> { self.0.histogram(HistogramIndex::$histogram as usize) }
                )*
            }
        };
    };
    (@name $name:ident) => { stringify!($name) };
    (@name $name:ident $text:literal) => { $text };
}

stat_group! {
    /// `cluster.<name>.*`: Envoy's names for what we count of a cluster. What nobody counts is not here: a 0 would be a lie.
    pub struct ClusterStats {
        counters {
            upstream_cx_total, upstream_cx_http1_total, upstream_cx_http2_total, upstream_cx_connect_fail,
            upstream_cx_connect_timeout, upstream_cx_idle_timeout, upstream_cx_max_duration_reached,
            upstream_cx_connect_attempts_exceeded, upstream_cx_overflow, upstream_cx_destroy,
            upstream_cx_protocol_error, upstream_cx_max_requests, upstream_cx_none_healthy,
            upstream_rq_total, upstream_rq_completed, upstream_rq_pending_total,
            upstream_rq_pending_overflow, upstream_rq_timeout, upstream_rq_max_duration_reached,
            upstream_rq_per_try_timeout, upstream_rq_rx_reset, upstream_rq_retry,
            upstream_rq_retry_backoff_exponential, upstream_rq_retry_limit_exceeded,
            upstream_rq_retry_success, upstream_rq_retry_overflow, upstream_rq_1xx, upstream_rq_2xx,
            upstream_rq_3xx, upstream_rq_4xx, upstream_rq_5xx, membership_change, update_attempt,
            update_success, update_failure, ssl_handshake = "ssl.handshake",
            ssl_connection_error = "ssl.connection_error",
        }
        gauges {
            upstream_cx_active, upstream_rq_active, upstream_rq_pending_active, membership_healthy,
            membership_degraded, membership_total, version,
        }
        histograms {
            upstream_cx_connect_ms, upstream_cx_length_ms, upstream_rq_time,
        }
    }
}

stat_group! {
    /// `listener.<address>.*`.
    pub struct ListenerStats {
        counters {
            downstream_cx_total, downstream_cx_destroy, downstream_cx_transport_socket_connect_timeout,
            downstream_pre_cx_timeout, downstream_listener_filter_remote_close,
            downstream_listener_filter_error, no_filter_chain_match, ssl_handshake = "ssl.handshake",
            ssl_connection_error = "ssl.connection_error",
        }
        gauges {
            downstream_cx_active,
        }
        histograms {
            downstream_cx_length_ms,
        }
    }
}

stat_group! {
    /// `http.<stat_prefix>.*`: an HTTP connection manager.
    pub struct HttpStats {
        counters {
            downstream_cx_total, downstream_cx_ssl_total, downstream_cx_http1_total,
            downstream_cx_http2_total, downstream_cx_upgrades_total, downstream_cx_destroy,
            downstream_cx_rx_bytes_total, downstream_cx_tx_bytes_total, downstream_cx_drain_close,
            downstream_cx_idle_timeout, downstream_cx_max_duration_reached,
            downstream_cx_max_requests_reached, downstream_cx_protocol_error, downstream_rq_total,
            downstream_rq_http1_total, downstream_rq_http2_total, downstream_rq_rx_reset,
            downstream_rq_tx_reset, downstream_rq_completed, downstream_rq_1xx, downstream_rq_2xx,
            downstream_rq_3xx, downstream_rq_4xx, downstream_rq_5xx,
            downstream_rq_failed_path_normalization, downstream_rq_idle_timeout, downstream_rq_timeout,
            downstream_rq_ws_on_non_ws_route, no_route, no_cluster, rq_direct_response, rq_redirect,
            rq_total,
        }
        gauges {
            downstream_cx_active, downstream_cx_ssl_active, downstream_cx_upgrades_active,
            downstream_rq_active,
        }
        histograms {
            downstream_cx_length_ms, downstream_rq_time,
        }
    }
}

stat_group! {
    /// `tcp.<stat_prefix>.*`: a TCP proxy.
    pub struct TcpStats {
        counters {
            downstream_cx_total, downstream_cx_no_route, downstream_cx_tx_bytes_total,
            downstream_cx_rx_bytes_total, idle_timeout, max_downstream_connection_duration,
        }
        gauges {}
        histograms {}
    }
}

stat_group! {
    /// `cluster_manager.*`.
    pub struct ClusterManagerStats {
        counters {
            cluster_added, cluster_modified, cluster_removed, cluster_updated,
            cds_update_attempt = "cds.update_attempt", cds_update_success = "cds.update_success",
            cds_update_rejected = "cds.update_rejected",
        }
        gauges {
            active_clusters, warming_clusters,
        }
        histograms {}
    }
}

stat_group! {
    /// `listener_manager.*`.
    pub struct ListenerManagerStats {
        counters {
            listener_added, listener_modified, listener_removed, listener_stopped, listener_create_success,
            listener_create_failure, lds_update_attempt = "lds.update_attempt",
            lds_update_success = "lds.update_success", lds_update_rejected = "lds.update_rejected",
        }
        gauges {
            total_listeners_warming, total_listeners_active, workers_started,
        }
        histograms {}
    }
}

stat_group! {
    /// `control_plane.*`.
    pub struct ControlPlaneStats {
        counters {}
        gauges {
            connected_state,
        }
        histograms {}
    }
}

stat_group! {
    /// `server.*`.
    pub struct ServerStats {
        counters {
            debug_assertion_failures,
        }
        gauges {
            uptime, concurrency, memory_allocated, memory_heap_size, memory_physical_size, live, state,
            parent_connections, version, days_until_first_cert_expiring, hot_restart_epoch,
        }
        histograms {}
    }
}

/// A cluster's name as a part of a statistic's name: `:` would be taken for a separator.
pub fn cluster_prefix(name: &str) -> String {
    format!("cluster.{}.", name.replace(':', "_"))
}

/// A listener's address as a part of a statistic's name, e.g. `listener.0.0.0.0_15006.`.
pub fn listener_prefix(address: &str) -> String {
    format!("listener.{}.", address.replace(':', "_"))
}
