//! What outcomes mean: the state machine, the guard's decision, and what of it goes to the store.

use std::sync::Arc;

use tokio::task::JoinError;

use super::Prober;
use super::probe_task::{Done, Ended};
use crate::model::health::{Event, Step, step};
use crate::model::outcome::{Health, Outcome, Reason, Stage, Timings, Verdict};
use crate::model::ports::{OnDemandCheck, OnDemandResult};
use crate::model::service::{CheckId, InstanceId};
use crate::model::text::escape;
use crate::model::time::{Now, UnixMs};
use crate::prober::guard::{Fall, Observation, Reach};
use crate::prober::on_demand::Weight;
use crate::prober::targets::{ProbePhase, Tracked, Waiter};

/// Most characters of a pointer that a warning repeats.
const MAX_POINTER_SHOWN: usize = 100;

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
        let Some(tracked) = self.targets.get_mut(done.check) else { return };
        if tracked.generation != done.generation || !matches!(tracked.phase, ProbePhase::Running(..)) {
            return;
        }
        let ProbePhase::Running(run) = std::mem::replace(&mut tracked.phase, ProbePhase::Idle) else { return };
        self.scheduler.probe_ended(run.at);
        match done.ended {
            Ended::Probed(outcome, version) => {
                self.note_version(done.check, &outcome, version.as_deref(), now);
                let showed_certificate = outcome.certificate_expires_at.is_some();
                self.judge(done.check, outcome, run.started, now);
                if showed_certificate {
                    self.note_certificate(done.check.instance);
                }
            }
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

    /// Notes the version that an answer reports, and whether it is the registered one, or that there is none.
    fn note_version(&mut self, id: CheckId, outcome: &Outcome, version: Option<&str>, now: Now) {
        let Some(tracked) = self.targets.get_mut(id) else { return };
        let Some(pointer) = tracked.version_from() else { return };
        if outcome.verdict != Verdict::Pass {
            return;
        }
        let snapshot = self.catalog.read();
        let service = snapshot.get(tracked.key.as_str()).map(|entry| entry.service());
        let registered = service.and_then(|service| service.instance(tracked.name.as_str()));
        let registered = registered.map_or("", |instance| instance.spec.version.as_str());
        let warning = match version {
            None => {
                let shown = escape(pointer, MAX_POINTER_SHOWN);
                Some((Reason::VersionNotFound, format!("version not found: the answer has no text at {shown}")))
            }
            Some(version) if !registered.is_empty() && !is_same_version(version, registered) => {
                Some((Reason::VersionDiffers, format!("version {version} answers, but {registered} is registered")))
            }
            Some(_) => None,
        };
        tracked.notice(version, warning, now.steady);
    }

    /// Notes when the first certificate of the instance's checks expires.
    fn note_certificate(&self, instance: InstanceId) {
        let Some(checks) = self.targets.checks(instance) else { return };
        let first = checks.iter().filter_map(|tracked| tracked.certificate_expires_at).min();
        self.report.certificate(instance, first);
    }

    pub(super) fn judge(&mut self, id: CheckId, outcome: Outcome, started: UnixMs, now: Now) {
        let Some(tracked) = self.targets.get_mut(id) else { return };
        self.report.probe(tracked.kind(), &outcome);
        let scheduled = !tracked.confirming && !tracked.priority().urgent;
        let waiters = std::mem::take(&mut tracked.waiters);
        let observed = std::mem::take(&mut tracked.only_observed);
        let asked = !waiters.is_empty() && !observed;
        // One that the schedule or the guard wanted as well counts as usual.
        let only_shown = observed && !tracked.guard_asked && tracked.due > now.steady;
        tracked.guard_asked = false;
        let was_healthy = tracked.state.health() == Health::Healthy;
        let before = tracked.last.clone();
        let outcome = tracked.note(outcome);
        self.scheduler.update_need(tracked);
        self.guard.observe(&Observation {
            check: id,
            namespace: tracked.key.namespace(),
            address: outcome.address.map(|address| address.ip()),
            was_healthy,
            scheduled,
            reach: Reach::from(&*outcome),
            at: now.steady,
        });
        if only_shown {
            self.scheduler.schedule(tracked);
            return self.fill(id, &waiters, &outcome);
        }
        let event = if asked { Event::OnDemand(&outcome) } else { Event::Probe(&outcome) };
        let mut step = step(&tracked.state, &tracked.timing, event, now);
        // A caller who asks for a verdict gets it; the guard withholds only what Portolan would report unasked.
        if !asked && step.is_fall() && self.guard.holds(&fall(tracked, &outcome, &step, started), now.steady) {
            step = step.withheld(&tracked.state);
        }
        // Whoever repairs a check needs to read what is wrong with it now.
        let reworded = outcome.reason.bars_check() && before.is_some_and(|before| before.message != outcome.message);
        step.reason_changed |= reworded && step.transition.is_none() && step.state.reason() == outcome.reason;
        tracked.plan(step.next, started, now.steady);
        self.scheduler.schedule(tracked);
        self.apply(id, step, Some(&outcome.message), now);
        self.watch_silence(id);
        self.fill(id, &waiters, &outcome);
    }

    fn fill(&mut self, id: CheckId, waiters: &[Waiter], outcome: &Arc<Outcome>) {
        let Some(tracked) = self.targets.get(id).filter(|_| !waiters.is_empty()) else { return };
        let held = tracked.state.held() && outcome.verdict == Verdict::Pass;
        let (instance, outcome) = (tracked.name.clone(), Outcome::clone(outcome));
        let check = OnDemandCheck { check: tracked.check_name(), advisory: tracked.advisory, outcome: outcome.clone() };
        let weight = Weight::of(tracked.advisory, outcome.verdict);
        let part = OnDemandResult { instance, outcome: Some(outcome), held, checks: vec![check] };
        for waiter in waiters {
            self.tickets.fill(*waiter, Some((weight, part.clone())), tracked.newest_change);
        }
    }

    /// Handles a check that had no conclusive outcome for too long. If it cannot run, that is why.
    pub(super) fn silent(&mut self, id: CheckId, now: Now) {
        let Some(tracked) = self.targets.get(id) else { return };
        let barred = |last: &Arc<Outcome>| last.verdict == Verdict::Inconclusive && last.reason.bars_check();
        let last = tracked.last.clone().filter(barred);
        let event = last.as_deref().map_or(Event::Silence, Event::Probe);
        let step = step(&tracked.state, &tracked.timing, event, now);
        self.apply(id, step, last.as_deref().map(|last| last.message.as_str()), now);
    }

    /// Lets a fall happen that the guard withheld.
    pub(super) fn release(&mut self, id: CheckId, now: Now) {
        let Some(tracked) = self.targets.get(id) else { return };
        let Some(fail) = tracked.last_fail.clone() else { return };
        let step = step(&tracked.state, &tracked.timing, Event::Release(&fail), now);
        self.apply(id, step, None, now);
    }

    /// Takes over a step's state, and folds it with those of the other checks. What readers notice of the instance goes to the store, with the
    /// outcome's message where it is not a transition.
    pub(super) fn apply(&mut self, id: CheckId, step: Step, message: Option<&str>, now: Now) {
        let Some(checks) = self.targets.checks_mut(id.instance) else { return };
        let barred = step.transition.is_none() && step.reason_changed && step.state.reason().bars_check();
        let effect = checks.take(id.position, step, message, now);
        let (was, is) = (effect.was, checks.health());
        let first = was.is_some_and(|(_, reason)| reason == Reason::Probing);
        let Some(tracked) = checks.get(id.position) else { return };
        if let Some(transition) = &effect.transition {
            self.report.transition((&tracked.key, &tracked.name), first, transition);
        } else if barred {
            self.report.barred(
                (&tracked.key, &tracked.name),
                first,
                tracked.state.reason(),
                message.unwrap_or_default(),
            );
        }
        let number = effect.noticed.then(|| self.persistence.push_change(checks.change(effect, now)));
        if let Some(tracked) = checks.get_mut(id.position) {
            tracked.newest_change = number.unwrap_or(tracked.newest_change);
            self.persistence.mark_dirty(tracked);
        }
        if was.is_some_and(|(health, _)| health != is.0) {
            self.sync_departure(id.instance);
        }
    }
}

/// Whether two versions are the same, however they are written.
fn is_same_version(one: &str, other: &str) -> bool {
    let plain = |text: &str| text.trim().trim_start_matches(['v', 'V']).to_owned();
    plain(one) == plain(other)
}

fn fall<'a>(tracked: &'a Tracked, outcome: &Outcome, step: &Step, started: UnixMs) -> Fall<'a> {
    Fall {
        check: tracked.id,
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
        certificate_expires_at: None,
        message: "the probe broke inside Portolan; see its log".to_owned(),
        timings: Timings::default(),
    }
}
