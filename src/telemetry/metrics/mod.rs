//! Every metric of Portolan, registered in one place; names are a contract with dashboards.
//!
//! Labels come from closed sets (routes, kinds, reasons), so nothing that a client sends can grow a series.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

use cluster::ClusterMetrics;

/// Labels of `portolan_http_requests_total`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct RequestLabels {
    /// The route's pattern, `unmatched` for the rest.
    pub route: &'static str,
    /// The method, `other` for an uncommon one.
    pub method: &'static str,
    /// The answer's status.
    pub status: u16,
}

/// A `route` label.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct RouteLabel {
    /// The route's pattern.
    pub route: &'static str,
}

/// Labels of `portolan_probes_total`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ProbeLabels {
    /// `http`, `tcp` or `grpc`.
    pub kind: &'static str,
    /// `pass`, `fail` or `inconclusive`.
    pub verdict: &'static str,
    /// A word of the closed set of reasons.
    pub reason: &'static str,
}

/// A `reason` label.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ReasonLabel {
    /// A word of a closed set.
    pub reason: &'static str,
}

/// A `queue` label.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct QueueLabel {
    /// The queue's name.
    pub queue: &'static str,
}

/// A `targets` label.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct TargetsLabel {
    /// `answering`, or `hanging` for those that hang or are new.
    pub targets: &'static str,
}

/// A health label on transitions.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct TransitionLabels {
    /// Health after.
    pub to: &'static str,
    /// A word of the closed set of reasons.
    pub reason: &'static str,
}

/// Labels of `rest_client_requests_total`, as client-go has them.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct KubeRequestLabels {
    /// The answer's status, `<error>` when none came.
    pub code: Cow<'static, str>,
    /// The method.
    pub method: &'static str,
    /// The API server: one for a process.
    pub host: Arc<str>,
}

/// A gauge of something that is not counted.
pub type Fraction = Gauge<f64, AtomicU64>;
type LatencyFamily = Family<RouteLabel, Histogram, fn() -> Histogram>;

/// Handles to every metric; cloning shares them.
#[derive(Debug, Clone)]
pub struct Metrics {
    /// Requests answered.
    pub requests: Family<RequestLabels, Counter>,
    /// Time from a request's head to its answer's head.
    pub request_seconds: LatencyFamily,
    /// Open client connections.
    pub connections: Gauge,
    /// Work refused, by reason (`rate_limit`, `connection_limit`, `access_log_full`, `queue_full`, …).
    pub rejected: Family<ReasonLabel, Counter>,
    /// Log lines dropped because the log's reader was too slow or gone.
    pub log_dropped: Counter,
    /// Probes ended.
    pub probes: Family<ProbeLabels, Counter>,
    /// Duration of conclusive probes.
    pub probe_seconds: Histogram,
    /// Time between a probe's due moment and its start.
    pub probe_lag_seconds: Histogram,
    /// Longest time that a due probe has waited in the last seconds, in seconds.
    pub probe_queue_lag: Family<TargetsLabel, Fraction>,
    /// What intervals are to what was asked for, ≥ 1.
    pub probe_stretch: Family<TargetsLabel, Fraction>,
    /// Time in which the last of all targets would be called unhealthy if all hung, in seconds.
    pub probe_all_known: Fraction,
    /// Probes delayed by the budget of their address.
    pub probes_delayed: Counter,
    /// Probes under way.
    pub probes_in_flight: Gauge,
    /// Instances that are probed.
    pub probe_targets: Gauge,
    /// 1 while the mass-failure guard holds transitions.
    pub guard_holding: Gauge,
    /// Changes of health.
    pub transitions: Family<TransitionLabels, Counter>,
    /// Transactions committed.
    pub commits: Counter,
    /// Duration of a transaction, begin to commit.
    pub commit_seconds: Histogram,
    /// Changes in a transaction.
    pub commit_changes: Histogram,
    /// Transactions that failed.
    pub commit_errors: Counter,
    /// Rows of the store that could not be read and are kept aside.
    pub quarantined_rows: Gauge,
    /// Entries waiting in a queue.
    pub queue_depth: Family<QueueLabel, Gauge>,
    /// The catalog's revision.
    pub revision: Gauge<i64, AtomicI64>,
    /// Requests to the Kubernetes API.
    pub kube_requests: Family<KubeRequestLabels, Counter>,
    /// What only cluster mode counts.
    pub cluster: ClusterMetrics,
    registry: Arc<std::sync::Mutex<Registry>>,
    /// Bytes of the last text.
    rendered: Arc<AtomicUsize>,
}

/// The `method` label: a closed set, since a client may send any word as a method.
pub fn method_label(method: &http::Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "POST" => "POST",
        "PUT" => "PUT",
        "PATCH" => "PATCH",
        "DELETE" => "DELETE",
        "OPTIONS" => "OPTIONS",
        _ => "other",
    }
}

fn seconds(buckets: &[f64]) -> Histogram {
    Histogram::new(buckets.iter().copied())
}

/// What our own names start with.
const PREFIX: &str = "portolan";
const FINE: &[f64] = &[0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0];
const COARSE: &[f64] = &[0.000_5, 0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];
const COUNTS: &[f64] = &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0];

impl Default for Metrics {
    fn default() -> Self {
        Self::counting(Counter::default())
    }
}

impl Metrics {
    /// Metrics that show the process log's own count of dropped lines.
    pub fn counting(log_dropped: Counter) -> Self {
        let metrics = Self { log_dropped, ..Self::unregistered() };
        metrics.register();
        metrics
    }

    fn unregistered() -> Self {
        Self {
            requests: Family::default(),
            request_seconds: Family::new_with_constructor((|| seconds(FINE)) as fn() -> Histogram),
            connections: Gauge::default(),
            rejected: Family::default(),
            log_dropped: Counter::default(),
            probes: Family::default(),
            probe_seconds: seconds(COARSE),
            probe_lag_seconds: seconds(COARSE),
            probe_queue_lag: Family::default(),
            probe_stretch: Family::default(),
            probe_all_known: Fraction::default(),
            probes_delayed: Counter::default(),
            probes_in_flight: Gauge::default(),
            probe_targets: Gauge::default(),
            guard_holding: Gauge::default(),
            transitions: Family::default(),
            commits: Counter::default(),
            commit_seconds: seconds(FINE),
            commit_changes: seconds(COUNTS),
            commit_errors: Counter::default(),
            quarantined_rows: Gauge::default(),
            queue_depth: Family::default(),
            revision: Gauge::default(),
            kube_requests: Family::default(),
            cluster: ClusterMetrics::default(),
            registry: Arc::default(),
            rendered: Arc::default(),
        }
    }

    fn register(&self) {
        let mut guard = self.lock();
        // A name that dashboards of other controllers have already.
        guard.register("rest_client_requests", "Requests to the Kubernetes API", self.kube_requests.clone());
        let r = guard.sub_registry_with_prefix(PREFIX);
        r.register("http_requests", "Requests answered", self.requests.clone());
        let latency = self.request_seconds.clone();
        r.register_with_unit("http_request_duration", "Request head to answer head", Unit::Seconds, latency);
        r.register("http_connections", "Open client connections", self.connections.clone());
        r.register("rejected", "Work refused, by reason", self.rejected.clone());
        r.register("log_dropped", "Log lines dropped for a reader that was too slow or gone", self.log_dropped.clone());
        r.register("probes", "Probes ended", self.probes.clone());
        r.register_with_unit("probe_duration", "Conclusive probes", Unit::Seconds, self.probe_seconds.clone());
        let lag = self.probe_lag_seconds.clone();
        r.register_with_unit("probe_schedule_lag", "Due moment to start of a probe", Unit::Seconds, lag);
        let waited = self.probe_queue_lag.clone();
        r.register_with_unit("probe_queue_lag", "Longest wait of a due probe, started or not", Unit::Seconds, waited);
        let stretch = self.probe_stretch.clone();
        r.register("probe_stretch_ratio", "What intervals are to what was asked for", stretch);
        let known = self.probe_all_known.clone();
        r.register_with_unit("probe_all_known", "Until all are unhealthy if all hang", Unit::Seconds, known);
        r.register("probes_delayed", "Probes delayed by their address's budget", self.probes_delayed.clone());
        r.register("probes_in_flight", "Probes under way", self.probes_in_flight.clone());
        r.register("probe_targets", "Instances that are probed", self.probe_targets.clone());
        r.register("guard_holding", "1 while the mass-failure guard holds", self.guard_holding.clone());
        r.register("transitions", "Changes of health", self.transitions.clone());
        r.register("store_commits", "Transactions committed", self.commits.clone());
        r.register_with_unit("store_commit_duration", "Transactions", Unit::Seconds, self.commit_seconds.clone());
        r.register("store_commit_changes", "Changes in a transaction", self.commit_changes.clone());
        r.register("store_commit_errors", "Transactions that failed", self.commit_errors.clone());
        let quarantined = self.quarantined_rows.clone();
        r.register("quarantined_rows", "Rows of the store that could not be read and are kept aside", quarantined);
        r.register("queue_depth", "Entries waiting in a queue", self.queue_depth.clone());
        r.register("catalog_revision", "The catalog's revision", self.revision.clone());
        self.cluster.register(r);
        r.register("build", "What runs", Info::new(vec![("version", env!("CARGO_PKG_VERSION"))]));
    }

    /// Adds a collector whose values are made at the scrape, for example from the catalog.
    pub fn collect_with(&self, collector: Box<dyn Collector>) {
        self.lock().sub_registry_with_prefix(PREFIX).register_collector(collector);
    }

    /// The same for names that are not ours alone, and so have no prefix.
    pub fn collect_common_with(&self, collector: Box<dyn Collector>) {
        self.lock().register_collector(collector);
    }

    /// One refusal, counted.
    pub fn reject(&self, reason: &'static str) {
        self.rejected.get_or_create(&ReasonLabel { reason }).inc();
    }

    /// The OpenMetrics text of everything.
    ///
    /// # Errors
    /// When a collector fails to write.
    pub fn render(&self) -> Result<String, std::fmt::Error> {
        let last = self.rendered.load(Ordering::Relaxed);
        // Grown by doubling, the text of 10,000 services would take three times its size.
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
}
