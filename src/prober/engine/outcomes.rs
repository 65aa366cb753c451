//! What outcomes mean: the state machine, the guard's word, and what of it goes to the store.

use std::net::IpAddr;
use std::sync::Arc;

use tokio::task::JoinError;

use crate::model::health::{Event, Step, step};
use crate::model::outcome::{Health, Outcome, Reason, Stage, Timings, Verdict};
use crate::model::ports::OnDemandResult;
use crate::model::probe::HealthChange;
use crate::model::service::InstanceId;
use crate::model::time::{Now, UnixMs};
use crate::prober::engine::Prober;
use crate::prober::engine::probe_task::{Done, Ended};
use crate::prober::guard::{Fall, Observation, Seen};
use crate::prober::limits::address_budget::Delay;
use crate::prober::targets::tracked::{Place, Tracked};

impl Prober {
    /// Takes in a probe's task that ended. One that was cut short counts for nothing: its instance is gone or changed.
    pub(crate) fn ended(&mut self, joined: Result<Done, JoinError>, now: Now) {
        match joined {
            Ok(done) => self.done(done, now),
            Err(error) if error.is_panic() => self.panicked(&error, now),
            Err(_) => {}
        }
    }

    fn done(&mut self, done: Done, now: Now) {
        let Some(tracked) = self.tracked.get_mut(&done.instance) else { return };
        if tracked.generation != done.generation || !matches!(tracked.place, Place::Running(..)) {
            return;
        }
        let Place::Running(run) = std::mem::replace(&mut tracked.place, Place::Idle) else { return };
        self.pace.ended(run.at);
        match done.ended {
            Ended::Probed(outcome) => self.judge(done.instance, outcome, run.started, now),
            Ended::Delayed(delay) => self.delay(done.instance, delay, done.waited, now.steady),
        }
    }

    /// A bug of ours must not end the prober, nor make a target look down.
    fn panicked(&mut self, error: &JoinError, now: Now) {
        let ours = |t: &Tracked| match &t.place {
            Place::Running(run) if run.task.id() == error.id() => Some((t.id, run.started, run.at)),
            _ => None,
        };
        let Some((id, started, at)) = self.tracked.values().find_map(|t| ours(t)) else { return };
        self.pace.ended(at);
        if let Some(tracked) = self.tracked.get_mut(&id) {
            tracing::error!(service = %tracked.key, instance = %tracked.name, "a probe broke inside Portolan: {error}");
            tracked.place = Place::Idle;
        }
        self.judge(id, broken(now), started, now);
    }

    /// The address's budget is spent: the instance waits in its queue, without a slot.
    fn delay(&mut self, id: InstanceId, delay: Delay, waited: Option<IpAddr>, now: UnixMs) {
        let Some(tracked) = self.tracked.get_mut(&id) else { return };
        tracked.place = Place::Delayed(delay.key, now);
        self.delayed += 1;
        if waited.is_none() {
            self.tally.delayed();
        }
        self.tools.budget.wait(delay.key, id, waited == Some(delay.key));
        self.wake_address(delay.key, delay.until);
    }

    pub(crate) fn judge(&mut self, id: InstanceId, outcome: Outcome, started: UnixMs, now: Now) {
        let Some(tracked) = self.tracked.get_mut(&id) else { return };
        self.tally.probe(tracked.target.kind(), &outcome);
        let scheduled = !tracked.confirming && !tracked.class().urgent;
        let waiters = std::mem::take(&mut tracked.waiters);
        tracked.asked = false;
        let was_healthy = tracked.state.health() == Health::Healthy;
        let before = tracked.last.clone();
        let outcome = tracked.note(outcome);
        let need = tracked.need();
        self.demand.replace(std::mem::replace(&mut tracked.counted, need), need);
        self.guard.observe(&Observation {
            instance: id,
            namespace: tracked.key.namespace(),
            address: outcome.address.map(|address| address.ip()),
            was_healthy,
            scheduled,
            seen: Seen::from(&*outcome),
            at: now.steady,
        });
        let event = if waiters.is_empty() { Event::Probe(&outcome) } else { Event::OnDemand(&outcome) };
        let mut step = step(&tracked.state, &tracked.timing, event, now);
        // Who asks for a verdict now gets it; the guard keeps back only what Portolan would say by itself.
        if waiters.is_empty()
            && step.is_fall()
            && self.guard.holds(&fall(tracked, &outcome, &step, started), now.steady)
        {
            step = step.withheld(&tracked.state);
        }
        // Who mends a check reads what is wrong with it now.
        let reworded = outcome.reason.bars_check() && before.is_some_and(|before| before.message != outcome.message);
        step.reason_changed |= reworded && step.transition.is_none() && step.state.reason() == outcome.reason;
        tracked.plan(step.next, started, now.steady);
        self.schedule.push(tracked.due, id);
        self.apply(id, step, Some(&outcome.message));
        self.watch_silence(id);
        self.fill(id, &waiters, &outcome);
    }

    fn fill(&mut self, id: InstanceId, waiters: &[(u64, usize)], outcome: &Arc<Outcome>) {
        let Some(tracked) = self.tracked.get(&id).filter(|_| !waiters.is_empty()) else { return };
        let held = tracked.state.held() && outcome.verdict == Verdict::Pass;
        let part = OnDemandResult { instance: tracked.name.clone(), outcome: Some(Outcome::clone(outcome)), held };
        for waiter in waiters {
            self.tickets.fill(*waiter, Some(part.clone()), tracked.newest_change);
        }
    }

    /// Nothing conclusive for too long.
    pub(crate) fn silent(&mut self, id: InstanceId, now: Now) {
        let Some(tracked) = self.tracked.get(&id) else { return };
        let step = step(&tracked.state, &tracked.timing, Event::Silence, now);
        self.apply(id, step, None);
    }

    /// A fall that the guard kept back may happen.
    pub(crate) fn release(&mut self, id: InstanceId, now: Now) {
        let Some(tracked) = self.tracked.get(&id) else { return };
        let Some(fail) = tracked.last_fail.clone() else { return };
        let step = step(&tracked.state, &tracked.timing, Event::Release(&fail), now);
        self.apply(id, step, None);
    }

    /// Takes over a step's state; what readers notice goes to the store, with what the probe says where it is no transition.
    fn apply(&mut self, id: InstanceId, step: Step, said: Option<&str>) {
        let Some(tracked) = self.tracked.get_mut(&id) else { return };
        if let Some(transition) = &step.transition {
            self.first_verdicts.say(tracked, transition);
            self.tally.transition(transition);
        } else if step.reason_changed && step.state.reason().bars_check() {
            self.first_verdicts.say_barred(tracked, step.state.reason(), said.unwrap_or_default());
        }
        tracked.state = step.state;
        if !tracked.dirty {
            tracked.dirty = true;
            self.rows.push(id);
        }
        if step.transition.is_none() && !step.reason_changed {
            return;
        }
        tracked.newest_change = self.commits.push(HealthChange {
            instance: id,
            generation: tracked.generation,
            health: tracked.state.health(),
            reason: tracked.state.reason(),
            since: tracked.state.since(),
            message: step.transition.as_ref().map(|t| t.message.as_str()).or(said).map(str::to_owned),
            transition: step.transition,
            state: tracked.state.clone(),
        });
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
