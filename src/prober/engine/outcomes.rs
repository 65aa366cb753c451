//! What outcomes mean: the state machine, the guard's decision, and what of it goes to the store.

use std::sync::Arc;

use tokio::task::JoinError;

use super::Prober;
use super::probe_task::{Done, Ended};
use crate::model::health::{Event, Step, step};
use crate::model::outcome::{Health, Outcome, Reason, Stage, Timings, Verdict};
use crate::model::ports::OnDemandResult;
use crate::model::service::InstanceId;
use crate::model::time::{Now, UnixMs};
use crate::prober::guard::{Fall, Observation, Reach};
use crate::prober::targets::{ProbePhase, Tracked, Waiter};

impl Prober {
    /// Handles a probe's task that ended. One that was cancelled counts for nothing: its instance is gone or changed.
    pub(super) fn ended(&mut self, joined: Result<Done, JoinError>, now: Now) {
        match joined {
            Ok(done) => self.done(done, now),
            Err(error) if error.is_panic() => self.panicked(&error, now),
            Err(_) => {}
        }
    }

    fn done(&mut self, done: Done, now: Now) {
        let Some(tracked) = self.targets.get_mut(done.instance) else { return };
        if tracked.generation != done.generation || !matches!(tracked.phase, ProbePhase::Running(..)) {
            return;
        }
        let ProbePhase::Running(run) = std::mem::replace(&mut tracked.phase, ProbePhase::Idle) else { return };
        self.scheduler.probe_ended(run.at);
        match done.ended {
            Ended::Probed(outcome) => self.judge(done.instance, outcome, run.started, now),
            Ended::Delayed(delay) => {
                self.scheduler.delay(tracked, delay, done.released_by, now.steady);
                if done.released_by.is_none() {
                    self.report.delayed();
                }
            }
        }
    }

    /// A bug of ours must not end the prober, nor make a target look down.
    fn panicked(&mut self, error: &JoinError, now: Now) {
        let run = |tracked: &Tracked| match &tracked.phase {
            ProbePhase::Running(run) if run.task.id() == error.id() => Some((tracked.id, run.started, run.at)),
            _ => None,
        };
        let Some((id, started, at)) = self.targets.iter().find_map(run) else { return };
        self.scheduler.probe_ended(at);
        if let Some(tracked) = self.targets.get_mut(id) {
            tracing::error!(service = %tracked.key, instance = %tracked.name, "a probe panicked: {error}");
            tracked.phase = ProbePhase::Idle;
        }
        self.judge(id, broken(now), started, now);
    }

    pub(super) fn judge(&mut self, id: InstanceId, outcome: Outcome, started: UnixMs, now: Now) {
        let Some(tracked) = self.targets.get_mut(id) else { return };
        self.report.probe(tracked.target.kind(), &outcome);
        let scheduled = !tracked.confirming && !tracked.priority().urgent;
        let waiters = std::mem::take(&mut tracked.waiters);
        tracked.guard_asked = false;
        let was_healthy = tracked.state.health() == Health::Healthy;
        let before = tracked.last.clone();
        let outcome = tracked.note(outcome);
        self.scheduler.update_need(tracked);
        self.guard.observe(&Observation {
            instance: id,
            namespace: tracked.key.namespace(),
            address: outcome.address.map(|address| address.ip()),
            was_healthy,
            scheduled,
            reach: Reach::from(&*outcome),
            at: now.steady,
        });
        let event = if waiters.is_empty() { Event::Probe(&outcome) } else { Event::OnDemand(&outcome) };
        let mut step = step(&tracked.state, &tracked.timing, event, now);
        // A caller who asks for a verdict gets it; the guard withholds only what Portolan would report unasked.
        if waiters.is_empty()
            && step.is_fall()
            && self.guard.holds(&fall(tracked, &outcome, &step, started), now.steady)
        {
            step = step.withheld(&tracked.state);
        }
        // Whoever repairs a check needs to read what is wrong with it now.
        let reworded = outcome.reason.bars_check() && before.is_some_and(|before| before.message != outcome.message);
        step.reason_changed |= reworded && step.transition.is_none() && step.state.reason() == outcome.reason;
        tracked.plan(step.next, started, now.steady);
        self.scheduler.schedule(tracked);
        self.apply(id, step, Some(&outcome.message));
        self.watch_silence(id);
        self.fill(id, &waiters, &outcome);
    }

    fn fill(&mut self, id: InstanceId, waiters: &[Waiter], outcome: &Arc<Outcome>) {
        let Some(tracked) = self.targets.get(id).filter(|_| !waiters.is_empty()) else { return };
        let held = tracked.state.held() && outcome.verdict == Verdict::Pass;
        let part = OnDemandResult { instance: tracked.name.clone(), outcome: Some(Outcome::clone(outcome)), held };
        for waiter in waiters {
            self.tickets.fill(*waiter, Some(part.clone()), tracked.newest_change);
        }
    }

    /// Handles an instance that had no conclusive outcome for too long.
    pub(super) fn silent(&mut self, id: InstanceId, now: Now) {
        let Some(tracked) = self.targets.get(id) else { return };
        let step = step(&tracked.state, &tracked.timing, Event::Silence, now);
        self.apply(id, step, None);
    }

    /// Lets a fall happen that the guard withheld.
    pub(super) fn release(&mut self, id: InstanceId, now: Now) {
        let Some(tracked) = self.targets.get(id) else { return };
        let Some(fail) = tracked.last_fail.clone() else { return };
        let step = step(&tracked.state, &tracked.timing, Event::Release(&fail), now);
        self.apply(id, step, None);
    }

    /// Takes over a step's state. What readers notice goes to the store, with the outcome's message where it is no transition.
    fn apply(&mut self, id: InstanceId, step: Step, message: Option<&str>) {
        let Some(tracked) = self.targets.get_mut(id) else { return };
        if let Some(transition) = &step.transition {
            self.report.transition(tracked, transition);
        } else if step.reason_changed && step.state.reason().bars_check() {
            self.report.barred(tracked, step.state.reason(), message.unwrap_or_default());
        }
        tracked.state = step.state;
        self.persistence.mark_dirty(tracked);
        if step.transition.is_some() || step.reason_changed {
            self.persistence.push_change(tracked, step.transition, message);
        }
    }
}

fn fall<'a>(tracked: &'a Tracked, outcome: &Outcome, step: &Step, started: UnixMs) -> Fall<'a> {
    Fall {
        instance: tracked.id,
        namespace: tracked.key.namespace(),
        address: outcome.address.map(|address| address.ip()),
        reason: outcome.reason,
        failing_since: step.state.streak_since(),
        started,
    }
}

fn broken(now: Now) -> Outcome {
    Outcome {
        verdict: Verdict::Inconclusive,
        reason: Reason::Cancelled,
        stage: Stage::Resolve,
        at: now.wall,
        address: None,
        code: None,
        message: "the probe broke inside Portolan; see its log".to_owned(),
        timings: Timings::default(),
    }
}
