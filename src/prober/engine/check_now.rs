//! Probing out of turn: requests, and what the mass-failure guard wants to know.

use std::sync::Arc;

use crate::catalog::Entry;
use crate::model::ports::OnDemandError;
use crate::model::service::InstanceId;
use crate::model::time::{Now, UnixMs};
use crate::prober::addresses::budget_key;
use crate::prober::engine::Prober;
use crate::prober::guard::{GuardState, Release};
use crate::prober::on_demand::{CheckNow, refuse, unchecked};
use crate::prober::report::status::GUARD_CLEAR;
use crate::prober::targets::tracked::{Place, Tracked};

impl Prober {
    /// Probes every instance of a service now; those under way are joined.
    pub(crate) fn check_now(&mut self, command: CheckNow) {
        let found = self.catalog.read().by_id(&command.service).cloned();
        let result = match found {
            None => Err(OnDemandError::NotFound),
            Some(_) if !self.probing || !self.leadership.probes() => Err(OnDemandError::Unavailable),
            Some(_) if !self.tickets.room() => Err(refuse(&self.metrics)),
            Some(entry) => {
                // The feed may be a moment behind what the caller has seen.
                self.follow(std::slice::from_ref(&entry));
                self.within_budget(&entry).map(|()| entry)
            }
        };
        match result {
            Ok(entry) => self.open_ticket(command, &entry),
            // Whoever asked may have gone.
            Err(error) => drop(command.reply.send(Err(error))),
        }
    }

    fn within_budget(&self, entry: &Entry) -> Result<(), OnDemandError> {
        let now = self.clock.now().steady;
        let tracked = entry.service().instances.iter().filter_map(|i| self.tracked.get(&i.id));
        let room = tracked.map(|t| self.room_at(t, now)).max().unwrap_or(now);
        if room <= now {
            return Ok(());
        }
        let retry_after_seconds = u64::try_from(room.since(now).as_millis().div_ceil(1000)).unwrap_or(u64::MAX);
        Err(OnDemandError::OverBudget { retry_after_seconds })
    }

    /// When the instance's address could be probed, as far as it is known.
    fn room_at(&self, tracked: &Tracked, now: UnixMs) -> UnixMs {
        match (&tracked.place, &tracked.last) {
            (Place::Running(..), _) => now,
            (Place::Delayed(key, _), _) => self.tools.budget.room_at(*key, now),
            (_, Some(last)) => last.address.map_or(now, |at| self.tools.budget.room_at(budget_key(at.ip()), now)),
            (_, None) => now,
        }
    }

    fn open_ticket(&mut self, command: CheckNow, entry: &Arc<Entry>) {
        let instances = &entry.service().instances;
        let ticket = self.tickets.open(command.reply, instances.len());
        for (place, instance) in instances.iter().enumerate() {
            match self.tracked.get_mut(&instance.id) {
                Some(tracked) => {
                    let urgent = tracked.class().urgent;
                    tracked.waiters.push((ticket, place));
                    self.hasten(instance.id, urgent);
                }
                None => self.tickets.fill((ticket, place), Some(unchecked(&instance.name)), 0),
            }
        }
    }

    /// Puts an instance in line ahead of the others, unless it is there already, under way, or waits for its address.
    fn hasten(&mut self, id: InstanceId, was_urgent: bool) {
        let behind = |t: &Tracked| match t.place {
            Place::Idle => true,
            Place::Queued(_) => !was_urgent,
            Place::Running(..) | Place::Delayed(..) => false,
        };
        if self.tracked.get(&id).is_some_and(|t| behind(t)) {
            let now = self.clock.now().steady;
            self.queue(id, now);
        }
    }

    /// Does what the guard asks for, and lets go what it kept back.
    pub(crate) fn drive_guard(&mut self, now: Now) {
        for id in self.guard.canaries() {
            self.ask(id);
        }
        if self.guard_at.is_some_and(|at| at <= now.steady) {
            let before = self.guard.state();
            let state = self.guard.judge(now.steady);
            for id in self.guard.canaries() {
                self.ask(id);
            }
            for release in self.guard.release_batch(now.steady) {
                match release {
                    Release::Commit(id) => self.release(id, now),
                    // What waits for a slot would wait too long for one more probe.
                    Release::Confirm(id) if self.slots_are_short() => self.release(id, now),
                    Release::Probe(id) | Release::Confirm(id) => self.ask(id),
                }
            }
            self.say_guard(before, state);
            self.guard_at = self.guard.due(now.steady);
        } else if self.guard_at.is_none() {
            self.guard_at = self.guard.due(now.steady);
        }
    }

    fn ask(&mut self, id: InstanceId) {
        if let Some(tracked) = self.tracked.get_mut(&id) {
            let urgent = tracked.class().urgent;
            tracked.asked = true;
            self.hasten(id, urgent);
        }
    }

    pub(crate) fn say_guard(&mut self, before: GuardState, state: GuardState) {
        let holding = matches!(state, GuardState::Holding { .. });
        let held_before = matches!(before, GuardState::Holding { .. });
        let held = self.guard.held();
        if holding && !held_before {
            tracing::warn!(
                held,
                "most of what is probed seems lost at once; changes to unhealthy are held until others have been asked"
            );
        } else if held_before && !holding {
            tracing::warn!(held, "the mass-failure guard ended its hold");
        }
        let text = match state {
            GuardState::Clear if held == 0 => GUARD_CLEAR.to_owned(),
            GuardState::Clear => format!("letting {held} held changes go"),
            GuardState::Asking { .. } => "asking others whether the network is at fault".to_owned(),
            GuardState::Holding { until, .. } => {
                format!("holds {held} changes to unhealthy until {until} at the latest")
            }
        };
        if **self.status.guard.load() != text {
            self.status.guard.store(Arc::new(text));
        }
        self.status.guard_holding.store(holding, std::sync::atomic::Ordering::Relaxed);
        self.tally.holding(holding);
    }
}
