//! What only cluster mode counts.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// A `result` label.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ResultLabel {
    /// A word of a closed set.
    pub result: &'static str,
}

/// Handles to them; cloning shares them.
#[derive(Debug, Clone, Default)]
pub struct ClusterMetrics {
    /// Objects looked at (`applied`, `unchanged`, `invalid`, `deleting`, `removed`).
    pub reconciles: Family<ResultLabel, Counter>,
    /// Objects passed over, and failed writes of the mirror.
    pub reconcile_errors: Counter,
    /// Objects that are known.
    pub mirror_objects: Gauge,
    /// Objects whose status another install writes.
    pub objects_of_others: Gauge,
    /// Watches of the Kubernetes API that broke.
    pub watch_restarts: Counter,
    /// Status writes (`written`, `conflict`, `gone`, `forbidden`, `refused`, `away`).
    pub status_writes: Family<ResultLabel, Counter>,
    /// Objects whose status waits to be written.
    pub status_queue_depth: Gauge,
    /// Events (`written`, `dropped`, `failed`).
    pub events: Family<ResultLabel, Counter>,
}

impl ClusterMetrics {
    pub(super) fn register(&self, r: &mut Registry) {
        r.register("reconcile", "Objects looked at", self.reconciles.clone());
        r.register(
            "reconcile_errors",
            "Objects passed over, failed writes of the mirror",
            self.reconcile_errors.clone(),
        );
        r.register("mirror_objects", "Objects that are known", self.mirror_objects.clone());
        let others = self.objects_of_others.clone();
        r.register("objects_of_other_installs", "Objects whose status another install writes", others);
        r.register("watch_restarts", "Watches of the Kubernetes API that broke", self.watch_restarts.clone());
        r.register("status_writes", "Status writes", self.status_writes.clone());
        r.register("status_queue_depth", "Objects whose status waits to be written", self.status_queue_depth.clone());
        r.register("events", "Events of the Kubernetes API", self.events.clone());
    }

    /// One object looked at.
    pub fn reconciled(&self, result: &'static str) {
        self.reconciles.get_or_create(&ResultLabel { result }).inc();
    }

    /// One status write ended.
    pub fn status_written(&self, result: &'static str) {
        self.status_writes.get_or_create(&ResultLabel { result }).inc();
    }

    /// One event, written or not.
    pub fn event(&self, result: &'static str) {
        self.events.get_or_create(&ResultLabel { result }).inc();
    }
}
