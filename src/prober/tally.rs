//! Counting, cheap enough for every probe.

use std::collections::HashMap;
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;

use crate::model::outcome::{Outcome, Reason, Transition, Verdict};
use crate::telemetry::metrics::{Metrics, ProbeLabels, QueueLabel, TransitionLabels};

/// Handles that were looked up once; the sets of labels are closed.
#[derive(Debug)]
pub(super) struct Tally {
    metrics: Metrics,
    probes: HashMap<(&'static str, Verdict, Reason), Counter>,
    queue: Gauge,
    commands: Gauge,
    worst_lag: Duration,
}

impl Tally {
    /// Counts into `metrics`.
    pub(super) fn new(metrics: Metrics) -> Self {
        let queue = metrics.queue_depth.get_or_create(&QueueLabel { queue: "probes" }).clone();
        let commands = metrics.queue_depth.get_or_create(&QueueLabel { queue: "checks" }).clone();
        Self { metrics, probes: HashMap::new(), queue, commands, worst_lag: Duration::ZERO }
    }

    /// A probe that ended.
    pub(super) fn probe(&mut self, kind: &'static str, outcome: &Outcome) {
        let (verdict, reason) = (outcome.verdict, outcome.reason);
        let metrics = &self.metrics;
        let counter = self.probes.entry((kind, verdict, reason)).or_insert_with(|| {
            let labels = ProbeLabels { kind, verdict: verdict.as_str(), reason: reason.as_str() };
            metrics.probes.get_or_create(&labels).clone()
        });
        counter.inc();
        if verdict != Verdict::Inconclusive {
            self.metrics.probe_seconds.observe(Duration::from_micros(outcome.timings.total_us()).as_secs_f64());
        }
    }

    /// A probe that starts so long after its due moment.
    pub(super) fn lag(&mut self, lag: Duration) {
        self.worst_lag = self.worst_lag.max(lag);
        self.metrics.probe_lag_seconds.observe(lag.as_secs_f64());
    }

    /// The longest lag since this was last asked.
    pub(super) fn take_worst_lag(&mut self) -> Duration {
        std::mem::take(&mut self.worst_lag)
    }

    /// A change of health.
    pub(super) fn transition(&self, transition: &Transition) {
        let labels = TransitionLabels { to: transition.to.as_str(), reason: transition.reason.as_str() };
        self.metrics.transitions.get_or_create(&labels).inc();
    }

    /// A probe that waits for its address's budget.
    pub(super) fn delayed(&self) {
        self.metrics.probes_delayed.inc();
    }

    /// The sizes of what there is.
    pub(super) fn sizes(&self, tracked: usize, in_flight: usize, queued: usize, commands: usize) {
        let whole = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
        self.metrics.probe_targets.set(whole(tracked));
        self.metrics.probes_in_flight.set(whole(in_flight));
        self.queue.set(whole(queued));
        self.commands.set(whole(commands));
    }

    /// Whether the guard holds.
    pub(super) fn holding(&self, holding: bool) {
        self.metrics.guard_holding.set(i64::from(holding));
    }
}
