//! A tick: what is due is queued, what may start is started.

use std::time::Duration;

use tokio::time::Instant;

use super::Prober;
use super::probe_task::Job;
use crate::model::health::Next;
use crate::model::ports::OnDemandError;
use crate::model::service::CheckId;
use crate::model::time::{Now, UnixMs};
use crate::prober::targets::{ProbePhase, Run};
use crate::prober::telemetry::Sizes;

/// Checks whose silence is judged in one tick at most.
const MAX_SILENT: usize = 512;
/// Time until an instance is due again whose namespace's policies are not known.
const UNKNOWN_POLICY: Duration = Duration::from_secs(1);
/// Time between tidying up.
const TIDY: Duration = Duration::from_secs(2);

impl Prober {
    /// Does everything that time and free slots allow. The tick was planned for `planned` at the latest.
    pub(super) fn tick(&mut self, planned: Instant) {
        let (now, at) = (self.clock.now(), Instant::now());
        self.scheduler.tick(at, at.saturating_duration_since(planned));
        self.lease_clock.look(now.steady, self.guard.is_holding());
        self.expire_leases();
        self.let_go();
        self.scheduler.queue_due(&mut self.targets, now.steady);
        self.scheduler.release_delayed(&mut self.targets, now.steady);
        self.judge_silence(now);
        self.drive_guard(now);
        while let Some((id, since)) = self.scheduler.pop_ready(&self.targets) {
            self.start(id, since, now.steady, at);
        }
        self.persistence.write(&mut self.targets, now.steady);
        self.answer_checks();
        self.report_sizes();
        if now.steady >= self.tidy_at {
            self.tidy(now.steady);
        }
    }

    fn start(&mut self, id: CheckId, since: UnixMs, now: UnixMs, at: Instant) {
        let leads = self.leadership.probes();
        let Some(tracked) = self.targets.get_mut(id) else { return };
        let Some(target) = tracked.target().cloned() else { return };
        let waited = now.since(since);
        tracked.excuse(waited);
        let ruling = self.settings.policies.of(tracked.key.namespace());
        if !leads || !ruling.is_known() {
            tracked.phase = ProbePhase::Idle;
            tracked.plan(Next::Scheduled, now, now);
            if leads {
                tracked.due = tracked.due.min(now.plus(UNKNOWN_POLICY));
            }
            self.scheduler.schedule(tracked);
            for (ticket, _) in std::mem::take(&mut tracked.waiters) {
                self.tickets.fail(ticket, OnDemandError::Unavailable);
            }
            return;
        }
        let released_by = tracked.released_by.take();
        if released_by.is_none() && !tracked.priority().urgent {
            self.report.start_lag(waited);
            self.scheduler.note_start(tracked, waited);
        }
        let (generation, timeout) = (tracked.generation, tracked.timing.timeout);
        let may_hang = tracked.may_hang();
        let job = Job { check: id, generation, target, ruling, timeout, may_hang, released_by };
        let slot = self.scheduler.take_slot(tracked, at);
        tracked.phase = ProbePhase::Running(Run { task: self.probes.start(job, slot), started: now, at });
    }

    fn judge_silence(&mut self, now: Now) {
        for _ in 0..MAX_SILENT {
            let Some((at, id)) = self.scheduler.pop_silence(now.steady) else { return };
            let Some(tracked) = self.targets.get_mut(id).filter(|tracked| tracked.silence_at == Some(at)) else {
                continue;
            };
            tracked.silence_at = None;
            if tracked.unproven_at(now.steady) <= now.steady {
                self.silent(id, now);
            }
            self.watch_silence(id);
        }
    }

    /// Plans when an instance's silence is judged next.
    pub(super) fn watch_silence(&mut self, id: CheckId) {
        if let Some(tracked) = self.targets.get_mut(id) {
            self.scheduler.watch_silence(tracked, self.clock.now().steady);
        }
    }

    /// Answers the checks whose effect can be seen, and those whose effect the store refuses.
    fn answer_checks(&mut self) {
        if self.persistence.failing() {
            self.tickets.give_up(self.persistence.finished());
        } else {
            self.tickets.answer(self.persistence.finished());
        }
    }

    fn tidy(&mut self, now: UnixMs) {
        self.tidy_at = now.plus(TIDY);
        self.scheduler.tidy(&self.targets, now);
        self.tidy_expiries();
        self.report.flush_log();
        self.report.lag(self.scheduler.read_lag(&self.targets, now));
        if let Some(within) = self.scheduler.detection_time(&self.targets) {
            self.report.detection_time(within);
        }
    }

    fn report_sizes(&self) {
        self.report.tick(Sizes {
            tracked: self.targets.instances(),
            in_flight: self.scheduler.in_flight(),
            queued: self.scheduler.queued(),
            delayed: self.scheduler.delayed(),
            uncommitted: self.persistence.uncommitted(),
            checks: self.tickets.len(),
        });
    }
}
