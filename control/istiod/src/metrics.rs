//! What istiod counts, under Istio's names.

use meltemi_process::metrics::{Counter, Family, Gauge, Histogram, Labels, Registry};
use meltemi_proto::{type_url, version};

/// Seconds, from a millisecond to half a minute.
const TIMES: [f64; 13] = [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 3.0, 5.0, 10.0, 30.0];
/// Bytes of one response.
const SIZES: [f64; 7] = [1.0, 10_000.0, 1_000_000.0, 4_000_000.0, 10_000_000.0, 40_000_000.0, 100_000_000.0];

/// All metrics of istiod.
#[derive(Clone)]
pub struct Metrics {
    /// Where they are read.
    pub registry: Registry,
    pub(crate) csr_count: Counter,
    pub(crate) csr_parsing_errors: Counter,
    pub(crate) csr_signing_errors: Counter,
    pub(crate) id_extraction_errors: Counter,
    pub(crate) authentication_failures: Counter,
    pub(crate) certificates_issued: Counter,
    pub(crate) root_expiry_seconds: Gauge,
    pub(crate) root_expiry_timestamp: Gauge,
    pub(crate) injections: Counter,
    pub(crate) injections_done: Counter,
    pub(crate) injections_failed: Counter,
    pub(crate) injections_skipped: Counter,
    pub(crate) injection_time: Histogram,
    pub(crate) validations_passed: Family<Labels, Counter>,
    pub(crate) validations_failed: Family<Labels, Counter>,
    pub(crate) validation_http_errors: Counter,
    pub(crate) webhook_patches: Counter,
    pub(crate) webhook_patch_failures: Counter,
    pub(crate) config_events: Family<Labels, Counter>,
    pub(crate) registry_events: Family<Labels, Counter>,
    pub(crate) rejected_configs: Gauge,
    pub(crate) services: Gauge,
    pub(crate) virtual_services: Gauge,
    pub(crate) connections: Gauge,
    pub(crate) pushes: Family<Labels, Counter>,
    pub(crate) push_triggers: Family<Labels, Counter>,
    pub(crate) inbound_updates: Family<Labels, Counter>,
    pub(crate) rejects: Family<Labels, Counter>,
    pub(crate) debounce_time: Histogram,
    pub(crate) queue_time: Histogram,
    pub(crate) convergence_time: Histogram,
    pub(crate) push_time: Histogram,
    pub(crate) snapshot_time: Histogram,
    pub(crate) config_size: Histogram,
    uptime: Gauge,
    started: std::time::Instant,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new(&Registry::new())
    }
}

impl Metrics {
    /// Registers all of them.
    pub fn new(registry: &Registry) -> Self {
        let r = registry;
        info(r);
        Self {
            csr_count: r.counter("citadel_server_csr_count", "Certificate requests received"),
            csr_parsing_errors: r
                .counter("citadel_server_csr_parsing_err_count", "Requests that do not parse"),
            csr_signing_errors: r
                .counter("citadel_server_csr_sign_err_count", "Requests that could not be signed"),
            id_extraction_errors: r
                .counter("citadel_server_id_extraction_err_count", "Requests for another identity"),
            authentication_failures: r
                .counter("citadel_server_authentication_failure_count", "Callers without a valid credential"),
            certificates_issued: r
                .counter("citadel_server_success_cert_issuance_count", "Certificates given"),
            root_expiry_seconds: r
                .gauge("citadel_server_root_cert_expiry_seconds", "Seconds until the root expires"),
            root_expiry_timestamp: r
                .gauge("citadel_server_root_cert_expiry_timestamp", "When the root expires, in Unix time"),
            injections: r.counter("sidecar_injection_requests_total", "Injection requests"),
            injections_done: r.counter("sidecar_injection_success_total", "Pods injected"),
            injections_failed: r
                .counter("sidecar_injection_failure_total", "Pods that could not be injected"),
            injections_skipped: r.counter("sidecar_injection_skip_total", "Pods left alone"),
            injection_time: r.histogram("sidecar_injection_time_seconds", "Time of one injection", &TIMES),
            validations_passed: r.counters("galley_validation_passed", "Objects accepted"),
            validations_failed: r.counters("galley_validation_failed", "Objects refused"),
            validation_http_errors: r.counter("galley_validation_http_error", "Malformed admission requests"),
            webhook_patches: r
                .counter("webhook_patch_attempts_total", "Updates of webhook configurations tried"),
            webhook_patch_failures: r.counter("webhook_patch_failures_total", "Updates that failed"),
            config_events: r.counters("pilot_k8s_cfg_events", "Events of configuration"),
            registry_events: r.counters("pilot_k8s_reg_events", "Events of services and workloads"),
            rejected_configs: r.gauge("pilot_total_rejected_configs", "Stored objects that cannot be used"),
            services: r.gauge("pilot_services", "Services"),
            virtual_services: r.gauge("pilot_virt_services", "VirtualServices"),
            connections: r.gauge("pilot_xds", "Connected proxies"),
            pushes: r.counters("pilot_xds_pushes", "Responses sent"),
            push_triggers: r.counters("pilot_push_triggers", "Pushes by cause"),
            inbound_updates: r.counters("pilot_inbound_updates", "Changes received"),
            rejects: r.counters("pilot_total_xds_rejects", "Responses that proxies refused"),
            debounce_time: r.histogram("pilot_debounce_time", "Seconds from a change to its push", &TIMES),
            queue_time: r.histogram(
                "pilot_proxy_queue_time",
                "Seconds that a push waits for its proxy's turn",
                &TIMES,
            ),
            convergence_time: r.histogram(
                "pilot_proxy_convergence_time",
                "Seconds from a change until a proxy was sent it",
                &TIMES,
            ),
            push_time: r.histogram("pilot_xds_push_time", "Seconds to make one response", &TIMES),
            snapshot_time: r.histogram(
                "pilot_pushcontext_init_seconds",
                "Seconds to make a snapshot",
                &TIMES,
            ),
            config_size: r.histogram("pilot_xds_config_size_bytes", "Bytes of responses", &SIZES),
            uptime: r.gauge("istiod_uptime_seconds", "Seconds since the start"),
            started: std::time::Instant::now(),
            registry: registry.clone(),
        }
    }

    /// Counts a response of a type.
    pub(crate) fn pushed(&self, type_url: &str, bytes: usize) {
        self.pushes.get_or_create(&vec![("type", type_label(type_url))]).inc();
        self.config_size.observe(bytes as f64);
    }

    /// Counts an event of a watched kind.
    pub(crate) fn event(&self, kind: meltemi_config::Kind, event: &'static str) {
        let family = if kind.is_istio() { &self.config_events } else { &self.registry_events };
        let name = if kind == meltemi_config::Kind::Service { "Services" } else { kind.name() };
        family.get_or_create(&vec![("type", name.to_owned()), ("event", event.to_owned())]).inc();
    }

    /// Sets what only a clock tells; call it before a scrape.
    pub fn refresh(&self) {
        self.uptime.set(self.started.elapsed().as_secs_f64());
    }
}

fn info(registry: &Registry) {
    // Translation is total: there is nothing to count, but dashboards ask for it.
    registry.counter("pilot_total_xds_internal_errors", "Responses that could not be made");
    let build = registry.gauges("istio_build", "What runs here");
    let labels = vec![("component", "pilot".to_owned()), ("tag", version::ISTIO_COMPAT.to_owned())];
    build.get_or_create(&labels).set(1.0);
    let info = registry.gauges("pilot_info", "Version of pilot");
    info.get_or_create(&vec![("version", version::MELTEMI.to_owned())]).set(1.0);
    registry.gauge("istiod_managed_clusters", "Clusters watched").set(1.0);
}

/// `cds`, `eds`, …
pub(crate) fn type_label(type_url: &str) -> String {
    type_url::short(type_url).to_ascii_lowercase()
}
