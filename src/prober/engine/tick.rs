//! A turn: what is due is queued, what may start is started.

use std::cmp::Reverse;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::Instant;

use crate::model::ports::OnDemandError;
use crate::model::service::InstanceId;
use crate::model::time::{Now, UnixMs};
use crate::prober::engine::Prober;
use crate::prober::engine::probe_task::Job;
use crate::prober::limits::pace::hangs_at;
use crate::prober::targets::tracked::{Place, Run, Tracked};

/// Instances queued in one turn at most: a full machine must not keep the engine from listening.
const MOST: usize = 512;
/// Due moments, and probes that ended, are looked at this often: what happens together shares its wake-ups.
pub(crate) const TICK: Duration = Duration::from_millis(TICK_MS.unsigned_abs());
const TICK_MS: i64 = 5;
/// Time between tidying up.
const TIDY: Duration = Duration::from_secs(2);

impl Prober {
    /// Everything that time and free slots allow. It was to come at `planned` at the latest.
    pub(crate) fn turn(&mut self, planned: Instant) {
        let (now, at) = (self.clock.now(), Instant::now());
        self.pace.turn(at, at.saturating_duration_since(planned));
        self.age(at);
        self.queue_due(now.steady);
        self.let_out(now.steady);
        self.hear_silence(now);
        self.drive_guard(now);
        self.start_ready(now.steady, at);
        self.write(now.steady);
        self.answer();
        self.tell();
        if now.steady >= self.tidy_at {
            self.tidy(now.steady);
        }
    }

    /// The next moment at which something is due or may start. What waits for a slot has none: a probe's end wakes the engine then.
    pub(crate) fn next_start(&self, now: UnixMs) -> Option<UnixMs> {
        let tick_of = |at: UnixMs| UnixMs(at.0.saturating_add((-at.0).rem_euclid(TICK_MS)));
        let due = self.schedule.next().map(tick_of);
        match (self.queued > 0 && self.startable(), self.pace.room()) {
            (false, _) => due,
            (true, 0) => Some(now.plus(TICK).min(due.unwrap_or(UnixMs(i64::MAX)))),
            (true, _) => Some(UnixMs(i64::MIN)),
        }
    }

    fn startable(&self) -> bool {
        self.slots.free() && (self.free_for_slow() || self.ready.has_quick())
    }

    fn free_for_slow(&self) -> bool {
        self.slots.free_for_slow(self.demand.reserve(self.slots.all()))
    }

    /// Whether one that may hang has to wait for a slot.
    pub(crate) fn slots_are_short(&self) -> bool {
        self.queued > 0 && !self.free_for_slow()
    }

    fn queue_due(&mut self, now: UnixMs) {
        let now = UnixMs(now.0 - now.0.rem_euclid(TICK_MS));
        for _ in 0..MOST {
            let Some((due, id)) = self.schedule.pop_due(now) else { break };
            let stands = |t: &Tracked| t.due == due && matches!(t.place, Place::Idle);
            if self.tracked.get(&id).is_some_and(|t| stands(t)) {
                self.queue(id, due);
            }
        }
        let tracked = &self.tracked;
        self.schedule.tidy(tracked.len(), |due, id| tracked.get(&id).is_some_and(|t| t.due == due));
    }

    /// Puts an instance in line for a slot, where it waits since then.
    pub(crate) fn queue(&mut self, id: InstanceId, since: UnixMs) {
        let Some(tracked) = self.tracked.get_mut(&id) else { return };
        if matches!(tracked.place, Place::Delayed(..)) {
            self.delayed -= 1;
        }
        if !matches!(tracked.place, Place::Queued(_)) {
            self.queued += 1;
            tracked.place = Place::Queued(since);
            self.pressure[usize::from(tracked.slow())].waits(since, id);
        }
        self.ready.push(tracked.class(), tracked.namespace, tracked.gap(), id);
    }

    fn start_ready(&mut self, now: UnixMs, at: Instant) {
        while self.slots.free() && self.pace.room() > 0 {
            let free_for_slow = self.free_for_slow();
            let Some(id) = self.ready.pop(free_for_slow) else { return };
            if let Some(Place::Queued(since)) = self.tracked.get(&id).map(|tracked| &tracked.place) {
                self.queued -= 1;
                self.start(id, *since, now, at);
            }
        }
    }

    /// Counts probes among those that hang once they have lasted as long.
    fn age(&mut self, now: Instant) {
        while let Some((at, hold)) = self.aging.front()
            && hangs_at(*at) <= now
        {
            hold.turn_slow();
            self.aging.pop_front();
        }
    }

    fn start(&mut self, id: InstanceId, since: UnixMs, now: UnixMs, at: Instant) {
        let leads = self.leadership.probes();
        let Some(tracked) = self.tracked.get_mut(&id) else { return };
        let waited = now.since(since);
        tracked.excuse(waited);
        if !leads {
            tracked.place = Place::Idle;
            tracked.plan(crate::model::health::Next::Scheduled, now, now);
            self.schedule.push(tracked.due, id);
            let waiters = std::mem::take(&mut tracked.waiters);
            for (ticket, _) in waiters {
                self.tickets.fail(ticket, OnDemandError::Unavailable);
            }
            return;
        }
        let let_out = tracked.let_out.take();
        if let_out.is_none() && !tracked.class().urgent {
            self.tally.lag(waited);
            self.pressure[usize::from(tracked.slow())].started(tracked.timing.interval, waited);
        }
        let job = Job {
            instance: id,
            generation: tracked.generation,
            target: Arc::clone(&tracked.target),
            timeout: tracked.timing.timeout,
            waited: let_out,
        };
        let slot = self.slots.take(tracked.slow());
        if !tracked.slow() {
            self.aging.push_back((at, slot.hold()));
        }
        self.pace.started(at);
        let task = self.probes.spawn(job.run(Arc::clone(&self.tools), slot));
        tracked.place = Place::Running(Run { task, started: now, at });
    }

    /// Lets those out that waited for an address, one a step.
    fn let_out(&mut self, now: UnixMs) {
        while let Some(Reverse((at, key))) = self.addresses.peek().copied()
            && at <= now
        {
            self.addresses.pop();
            self.waking.remove(&key);
            let again = loop {
                let (out, again) = self.tools.budget.let_out(key, now);
                let Some(id) = out else { break again };
                if self.take_out(id, key, now) {
                    break again;
                }
            };
            if let Some(at) = again {
                self.wake_address(key, at);
            }
        }
    }

    /// Whether the instance still waits for the address; then it is queued for a slot.
    fn take_out(&mut self, id: InstanceId, key: IpAddr, now: UnixMs) -> bool {
        let Some(tracked) = self.tracked.get_mut(&id) else { return false };
        let Place::Delayed(address, since) = tracked.place else { return false };
        if address != key {
            return false;
        }
        tracked.excuse(now.since(since));
        tracked.let_out = Some(key);
        self.queue(id, now);
        true
    }

    /// Looks at an address again at `at`, unless it is looked at anyway.
    pub(crate) fn wake_address(&mut self, key: IpAddr, at: UnixMs) {
        if self.waking.insert(key) {
            self.addresses.push(Reverse((at, key)));
        }
    }

    fn hear_silence(&mut self, now: Now) {
        for _ in 0..MOST {
            let Some((at, id)) = self.silence.pop_due(now.steady) else { return };
            let Some(tracked) = self.tracked.get_mut(&id).filter(|tracked| tracked.watched == Some(at)) else {
                continue;
            };
            tracked.watched = None;
            if tracked.unproven_at(now.steady) <= now.steady {
                self.silent(id, now);
            }
            self.watch_silence(id);
        }
    }

    /// Answers the requests whose effect can be seen, and those whose effect the store refuses.
    fn answer(&mut self) {
        if self.commits.failing() {
            self.tickets.give_up(self.commits.finished());
        } else {
            self.tickets.answer(self.commits.finished());
        }
    }

    /// What is done now and then.
    fn tidy(&mut self, now: UnixMs) {
        self.tidy_at = now.plus(TIDY);
        self.tools.budget.sweep(now);
        self.first_verdicts.say_rest();
        self.read_pressure(now);
        let tracked = &self.tracked;
        self.silence.tidy(tracked.len(), |at, id| tracked.get(&id).is_some_and(|t| t.watched == Some(at)));
    }

    fn tell(&mut self) {
        let status = &self.status;
        status.turned();
        let (tracked, in_flight) = (self.tracked.len(), self.slots.taken());
        status.tracked.store(tracked, Ordering::Relaxed);
        status.in_flight.store(in_flight, Ordering::Relaxed);
        status.queued.store(self.queued, Ordering::Relaxed);
        status.delayed.store(self.delayed, Ordering::Relaxed);
        status.uncommitted.store(self.commits.len(), Ordering::Relaxed);
        self.tally.sizes(tracked, in_flight, self.queued, self.tickets.len());
    }
}
