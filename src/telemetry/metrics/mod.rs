//! Every metric. Names are a contract with dashboards and alerts.
//!
//! In: counts and times from every module, through the handles of [`Metrics`]. Out: the text of `/metrics`.
//!
//! To add a metric, add a line below (or in `cluster`). Read in this order: this file, `labels`, `cluster` (cluster mode only), then the
//! collectors, whose values are computed at the scrape: `process`, `services`, `certificates`, `staleness`. `text_format` is for older scrapers, `define`
//! the macro.

pub mod certificates;
pub mod cluster;
mod define;
mod labels;
pub mod process;
pub mod services;
pub mod staleness;
pub mod text_format;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering};

use prometheus_client::collector::Collector;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

use certificates::Certificates;
use cluster::ClusterMetrics;
use define::metrics;

pub use labels::{
    KubeRequestLabels, ProbeLabels, QueueLabel, ReasonLabel, RequestLabels, ResultLabel, ReviewLabels, RouteLabel,
    TargetsLabel, TransitionLabels, method_label,
};

/// A gauge of a measured value, not a count.
pub type Fraction = Gauge<f64, AtomicU64>;
type LatencyFamily = Family<RouteLabel, Histogram, fn() -> Histogram>;

/// The prefix of our own names.
const PREFIX: &str = "portolan";
const FINE: &[f64] = &[0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0];
const COARSE: &[f64] = &[0.000_5, 0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];
const COUNTS: &[f64] = &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0];

fn buckets(buckets: &[f64]) -> Histogram {
    Histogram::new(buckets.iter().copied())
}

metrics! {
    /// Handles to every metric; clones share them.
    pub struct Metrics {
        requests: Family<RequestLabels, Counter>, "http_requests", "Requests answered";
        request_seconds: LatencyFamily, "http_request_duration" in Seconds, "Time from request head to answer head"
            = Family::new_with_constructor(|| buckets(FINE));
        connections: Gauge, "http_connections", "Open client connections";
        rejected: Family<ReasonLabel, Counter>, "rejected", "Work refused, by reason";
        log_dropped: Counter, "log_dropped", "Log lines dropped because the log's reader was too slow or gone";
        audit_dropped: Counter, "audit_dropped", "Lines of the audit file dropped because it could not be written";
        probes: Family<ProbeLabels, Counter>, "probes", "Probes ended";
        probe_seconds: Histogram, "probe_duration" in Seconds, "Duration of conclusive probes" = buckets(COARSE);
        probe_lag_seconds: Histogram, "probe_schedule_lag" in Seconds, "Time from a probe's due moment to its start" = buckets(COARSE);
        probe_queue_lag: Family<TargetsLabel, Fraction>, "probe_queue_lag" in Seconds, "Longest wait of a due probe in the last seconds, started or not";
        probe_stretch: Family<TargetsLabel, Fraction>, "probe_stretch_ratio", "Actual probe intervals relative to the configured ones, at least 1";
        probe_all_known: Fraction, "probe_all_known" in Seconds, "Time until all instances would be unhealthy if all targets hung";
        probes_delayed: Counter, "probes_delayed", "Probes delayed by the budget of their address";
        probes_in_flight: Gauge, "probes_in_flight", "Probes in flight";
        probe_targets: Gauge, "probe_targets", "Instances that are probed";
        guard_holding: Gauge, "guard_holding", "1 while the mass-failure guard holds transitions";
        heartbeats: Counter, "heartbeats", "Heartbeats heard";
        removals: Counter, "removals", "Instances removed because their lease was not renewed or they stayed unhealthy";
        transitions: Family<TransitionLabels, Counter>, "transitions", "Changes of health";
        commits: Counter, "store_commits", "Transactions committed";
        commit_seconds: Histogram, "store_commit_duration" in Seconds, "Duration of transactions, begin to commit" = buckets(FINE);
        commit_changes: Histogram, "store_commit_changes", "Changes per transaction" = buckets(COUNTS);
        commit_errors: Counter, "store_commit_errors", "Transactions that failed";
        quarantined_rows: Gauge, "quarantined_rows", "Unreadable rows of the store that are in quarantine";
        queue_depth: Family<QueueLabel, Gauge>, "queue_depth", "Entries waiting in a queue";
        revision: Gauge<i64, AtomicI64>, "catalog_revision", "The catalog's revision";
    }
    with {
        /// Requests to the Kubernetes API.
        pub kube_requests: Family<KubeRequestLabels, Counter>,
        /// When certificates expire.
        pub certificates: Certificates,
        /// The metrics of cluster mode.
        pub cluster: ClusterMetrics,
        registry: Arc<std::sync::Mutex<Registry>>,
        /// Bytes of the last text.
        rendered: Arc<AtomicUsize>,
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::counting(Counter::default())
    }
}

impl Metrics {
    /// All metrics, with `log_dropped` as the count of lines that the process's log has dropped.
    pub fn counting(log_dropped: Counter) -> Self {
        let metrics = Self { log_dropped, ..Self::new() };
        let mut registry = metrics.lock();
        // Without the prefix: dashboards of other controllers use this name.
        registry.register("rest_client_requests", "Requests to the Kubernetes API", metrics.kube_requests.clone());
        let ours = registry.sub_registry_with_prefix(PREFIX);
        metrics.register(ours);
        metrics.cluster.register(ours);
        ours.register("build", "The running version", Info::new(vec![("version", env!("CARGO_PKG_VERSION"))]));
        drop(registry);
        metrics
    }

    /// Adds a collector whose values are computed at the scrape, for example from the catalog.
    pub fn collect_with(&self, collector: Box<dyn Collector>) {
        self.lock().sub_registry_with_prefix(PREFIX).register_collector(collector);
    }

    /// The same, for names without our prefix.
    pub fn collect_common_with(&self, collector: Box<dyn Collector>) {
        self.lock().register_collector(collector);
    }

    /// Counts a refusal.
    pub fn reject(&self, reason: &'static str) {
        self.rejected.get_or_create(&ReasonLabel { reason }).inc();
    }

    /// All metrics as OpenMetrics text.
    ///
    /// # Errors
    /// If a collector fails to write.
    pub fn render(&self) -> Result<String, std::fmt::Error> {
        let last = self.rendered.load(Ordering::Relaxed);
        // A buffer that grows by doubling would need three times the size of a large text.
        let mut out = String::with_capacity(last + last / 16);
        prometheus_client::encoding::text::encode(&mut out, &self.lock())?;
        self.rendered.store(out.len(), Ordering::Relaxed);
        Ok(out)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Registry> {
        self.registry.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn renders_open_metrics() {
        let metrics = Metrics::default();
        metrics.reject("rate_limit");
        let text = metrics.render().expect("renders");
        assert!(text.contains("portolan_rejected_total{reason=\"rate_limit\"} 1"), "{text}");
        assert!(text.contains("portolan_build_info"), "{text}");
        assert!(text.ends_with("# EOF\n"));
    }

    #[test]
    fn names_have_their_units() {
        assert!(Metrics::NAMES.contains(&"store_commit_duration_seconds"));
        assert!(Metrics::NAMES.contains(&"probe_stretch_ratio"));
    }
}
