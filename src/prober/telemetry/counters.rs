//! The prober's metrics, cheap enough for every probe.

use std::collections::HashMap;
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;

use super::Sizes;
use crate::model::outcome::{Outcome, Reason, Transition, Verdict};
use crate::model::service::InstanceId;
use crate::model::time::UnixMs;
use crate::prober::schedule::{Reading, UNSTRETCHED};
use crate::prober::targets::HEARTBEAT;
use crate::telemetry::metrics::{Metrics, ProbeLabels, QueueLabel, TargetsLabel, TransitionLabels};

/// Handles that are looked up once: the sets of labels are closed.
#[derive(Debug)]
pub(crate) struct Counters {
    metrics: Metrics,
    probes: HashMap<(&'static str, Verdict, Reason), Counter>,
    queue: Gauge,
    checks: Gauge,
}

impl Counters {
    pub(crate) fn new(metrics: Metrics) -> Self {
        let queue = metrics.queue_depth.get_or_create(&QueueLabel { queue: "probes" }).clone();
        let checks = metrics.queue_depth.get_or_create(&QueueLabel { queue: "checks" }).clone();
        Self { metrics, probes: HashMap::new(), queue, checks }
    }

    /// A probe that ended.
    pub(crate) fn probe(&mut self, kind: &'static str, outcome: &Outcome) {
        let (verdict, reason) = (outcome.verdict, outcome.reason);
        let metrics = &self.metrics;
        let counter = self.probes.entry((kind, verdict, reason)).or_insert_with(|| {
            let labels = ProbeLabels { kind, verdict: verdict.as_str(), reason: reason.as_str() };
            metrics.probes.get_or_create(&labels).clone()
        });
        counter.inc();
        // A report takes no time.
        if verdict != Verdict::Inconclusive && kind != HEARTBEAT {
            self.metrics.probe_seconds.observe(Duration::from_micros(outcome.timings.total_us()).as_secs_f64());
        }
    }

    /// When the first certificate of an instance expires; none when it is not probed any more.
    pub(crate) fn certificate(&self, instance: InstanceId, expires_at: Option<UnixMs>) {
        match expires_at {
            Some(expires_at) => self.metrics.certificates.note(instance, expires_at),
            None => self.metrics.certificates.forget(instance),
        }
    }

    /// Nothing is probed any more.
    pub(crate) fn no_certificates(&self) {
        self.metrics.certificates.clear();
    }

    /// A probe that starts this long after its due moment.
    pub(crate) fn lag(&self, lag: Duration) {
        self.metrics.probe_lag_seconds.observe(lag.as_secs_f64());
    }

    /// How far behind probing is.
    pub(crate) fn lags(&self, answering: Reading, hanging: Reading) {
        for (targets, reading) in [("answering", answering), ("hanging", hanging)] {
            let label = TargetsLabel { targets };
            self.metrics.probe_queue_lag.get_or_create(&label).set(reading.lag.as_secs_f64());
            #[expect(clippy::cast_precision_loss, reason = "thousandths of a small factor")]
            self.metrics.probe_stretch.get_or_create(&label).set(reading.stretch as f64 / UNSTRETCHED as f64);
        }
    }

    /// The time within which a total outage would be known.
    pub(crate) fn detection_time(&self, within: Duration) {
        self.metrics.probe_all_known.set(within.as_secs_f64());
    }

    /// A change of health.
    pub(crate) fn transition(&self, transition: &Transition) {
        let labels = TransitionLabels { to: transition.to.as_str(), reason: transition.reason.as_str() };
        self.metrics.transitions.get_or_create(&labels).inc();
    }

    /// A probe that waits for its address's budget.
    pub(crate) fn delayed(&self) {
        self.metrics.probes_delayed.inc();
    }

    /// The sizes after a tick.
    pub(crate) fn sizes(&self, sizes: Sizes) {
        let whole = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
        self.metrics.probe_targets.set(whole(sizes.tracked));
        self.metrics.probes_in_flight.set(whole(sizes.in_flight));
        self.queue.set(whole(sizes.queued));
        self.checks.set(whole(sizes.checks));
    }

    /// Whether the guard holds.
    pub(crate) fn holding(&self, holding: bool) {
        self.metrics.guard_holding.set(i64::from(holding));
    }
}
