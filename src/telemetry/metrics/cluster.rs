//! The metrics of cluster mode.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;

use super::define::metrics;
use super::{ResultLabel, ReviewLabels};

metrics! {
    /// Handles to the metrics; clones share them.
    pub struct ClusterMetrics {
        reconciles: Family<ResultLabel, Counter>, "reconcile", "Objects processed: applied, unchanged, invalid, deleting or removed";
        reconcile_errors: Counter, "reconcile_errors", "Objects skipped, and failed writes of the mirror";
        mirror_objects: Gauge, "mirror_objects", "Known objects";
        objects_of_others: Gauge, "objects_of_other_installs", "Objects whose status another install writes";
        watch_restarts: Counter, "watch_restarts", "Watches of the Kubernetes API that broke";
        status_writes: Family<ResultLabel, Counter>, "status_writes", "Status writes: written, conflict, gone, forbidden, refused or away";
        slice_writes: Family<ResultLabel, Counter>, "endpoint_slice_writes", "Writes of EndpointSlices: written, conflict, forbidden, refused or away";
        annotated_writes: Family<ResultLabel, Counter>, "annotated_object_writes", "Writes of annotated objects of other projects: written, conflict, gone, forbidden, refused or away";
        status_queue_depth: Gauge, "status_queue_depth", "Objects whose status waits to be written";
        reviews: Family<ReviewLabels, Counter>, "reviews", "TokenReviews and SubjectAccessReviews of callers: allowed, denied or unanswered";
        events: Family<ResultLabel, Counter>, "events", "Events of the Kubernetes API: written, dropped or failed";
    }
}

impl Default for ClusterMetrics {
    fn default() -> Self {
        Self::new()
    }
}

impl ClusterMetrics {
    /// Counts a processed object.
    pub fn reconciled(&self, result: &'static str) {
        self.reconciles.get_or_create(&ResultLabel { result }).inc();
    }

    /// Counts a status write.
    pub fn status_written(&self, result: &'static str) {
        self.status_writes.get_or_create(&ResultLabel { result }).inc();
    }

    /// Counts a write of an EndpointSlice.
    pub fn slice_written(&self, result: &'static str) {
        self.slice_writes.get_or_create(&ResultLabel { result }).inc();
    }

    /// Counts a write of an annotated object.
    pub fn annotated_written(&self, result: &'static str) {
        self.annotated_writes.get_or_create(&ResultLabel { result }).inc();
    }

    /// Counts a review: of a `token`, or of `access`.
    pub fn reviewed(&self, kind: &'static str, result: &'static str) {
        self.reviews.get_or_create(&ReviewLabels { kind, result }).inc();
    }

    /// Counts an event.
    pub fn event(&self, result: &'static str) {
        self.events.get_or_create(&ResultLabel { result }).inc();
    }
}
