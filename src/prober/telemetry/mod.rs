//! What the prober reports about itself and about changes of health: the log, metrics, and figures for `/readyz?verbose`.
//!
//! - In: what the engine reports.
//! - Out: [`ProberStatus`], read without disturbing the engine; log lines; metrics.
//!
//! Read the files in this order: `status` (the figures), `counters` (metrics, cheap enough for every probe), `transition_log` (the lines about changes of
//! health). [`Report`] is what the engine holds.

mod counters;
mod status;
mod transition_log;

use std::sync::Arc;
use std::time::Duration;

use self::counters::Counters;
pub use self::status::{ProberReport, ProberStatus};
use self::transition_log::TransitionLog;
use crate::model::name::{InstanceName, ServiceKey};
use crate::model::outcome::{Outcome, Reason, Transition};
use crate::model::service::InstanceId;
use crate::model::time::UnixMs;
use crate::prober::guard::GuardState;
use crate::prober::schedule::Reading;
use crate::telemetry::metrics::Metrics;

/// Sizes after a tick.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sizes {
    /// Instances that are probed.
    pub(crate) tracked: usize,
    /// Running probes.
    pub(crate) in_flight: usize,
    /// Due probes that wait for a slot.
    pub(crate) queued: usize,
    /// Probes that wait for their address.
    pub(crate) delayed: usize,
    /// Changes of health that are not committed.
    pub(crate) uncommitted: usize,
    /// On-demand checks that are open.
    pub(crate) checks: usize,
}

/// Where the engine reports to.
#[derive(Debug)]
pub(crate) struct Report {
    counters: Counters,
    status: Arc<ProberStatus>,
    log: TransitionLog,
}

impl Report {
    /// For an engine with this many slots.
    pub(crate) fn new(metrics: Metrics, slots: usize) -> Self {
        let status = Arc::new(ProberStatus::new(slots));
        Self { counters: Counters::new(metrics), status, log: TransitionLog::default() }
    }

    pub(crate) fn status(&self) -> &Arc<ProberStatus> {
        &self.status
    }

    /// Notes a tick, and the sizes after it.
    pub(crate) fn tick(&self, sizes: Sizes) {
        self.status.tick(sizes);
        self.counters.sizes(sizes);
    }

    /// Notes that a probe starts this long after its due moment.
    pub(crate) fn start_lag(&self, late: Duration) {
        self.counters.lag(late);
    }

    /// Notes that a probe waits for its address's budget.
    pub(crate) fn delayed(&self) {
        self.counters.delayed();
    }

    pub(crate) fn probe(&mut self, kind: &'static str, outcome: &Outcome) {
        self.counters.probe(kind, outcome);
    }

    /// Notes when the first certificate of an instance expires; none when it is not probed any more.
    pub(crate) fn certificate(&self, instance: InstanceId, expires_at: Option<UnixMs>) {
        self.counters.certificate(instance, expires_at);
    }

    /// Nothing is probed any more.
    pub(crate) fn no_certificates(&self) {
        self.counters.no_certificates();
    }

    /// Reports a change of an instance's health; `first`: nothing was known before it.
    pub(crate) fn transition(&mut self, of: (&ServiceKey, &InstanceName), first: bool, transition: &Transition) {
        self.log.transition(of, first, transition);
        self.counters.transition(transition);
    }

    /// Reports what keeps a check from running; `first`: nothing was known before.
    pub(crate) fn barred(&mut self, of: (&ServiceKey, &InstanceName), first: bool, reason: Reason, message: &str) {
        self.log.barred(of, first, reason, message);
    }

    /// Logs how many first verdicts had no line of their own.
    pub(crate) fn flush_log(&mut self) {
        self.log.flush();
    }

    /// Notes how far behind probing is: of targets that answer, and of those that may hang.
    pub(crate) fn lag(&self, [answering, hanging]: [Reading; 2]) {
        self.counters.lags(answering, hanging);
        self.status.lags(answering, hanging);
    }

    /// Notes within which time a total outage would be known.
    pub(crate) fn detection_time(&self, within: Duration) {
        self.counters.detection_time(within);
        self.status.detection_time(within);
    }

    /// Reports what the guard does, with this many falls held or waiting to be released.
    pub(crate) fn guard(&self, before: GuardState, state: GuardState, held: usize) {
        let holding = matches!(state, GuardState::Holding { .. });
        let held_before = matches!(before, GuardState::Holding { .. });
        if holding && !held_before {
            tracing::warn!(
                held,
                "most targets seem lost at once; changes to unhealthy are held until other targets have been probed"
            );
        } else if held_before && !holding {
            tracing::warn!(held, "the mass-failure guard ended its hold");
        }
        self.status.guard(state, held);
        self.counters.holding(holding);
    }
}
