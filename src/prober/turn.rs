//! A turn: what is due is queued, what may start is started.

use std::cmp::Reverse;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::engine::Prober;
use super::track::{Place, Tracked};
use super::worker::Job;
use crate::model::ports::CheckNowError;
use crate::model::service::InstanceId;
use crate::model::time::{Now, UnixMs};

/// Probes started, and instances queued, in one turn at most: a full machine must not keep the engine from listening.
const MOST: usize = 512;
/// Due moments are looked at this often, in milliseconds: probes that start together share their wake-ups, which saves an eighth of the CPU
/// at 1,000 a second.
const TICK: i64 = 5;
/// Time between tidying up.
const TIDY: Duration = Duration::from_secs(2);

impl Prober {
    /// Everything that time and free slots allow.
    pub(super) fn turn(&mut self) {
        let now = self.clock.now();
        self.queue_due(now.steady);
        self.let_out(now.steady);
        self.hear_silence(now);
        self.drive_guard(now);
        self.start_ready(now.steady);
        self.write(now.steady);
        self.answer();
        self.tell();
        if now.steady >= self.tidy_at {
            self.tidy(now.steady);
        }
    }

    /// The next moment at which something is due or may start. What waits for a slot has none: a probe's end wakes the engine then.
    pub(super) fn next_start(&self) -> Option<UnixMs> {
        let waiting = self.queued > 0 && self.startable();
        let tick_of = |at: UnixMs| UnixMs(at.0.saturating_add((-at.0).rem_euclid(TICK)));
        if waiting { Some(UnixMs(i64::MIN)) } else { self.schedule.next().map(tick_of) }
    }

    fn startable(&self) -> bool {
        self.slots.free() && (self.slots.free_for_slow() || self.ready.has_quick())
    }

    fn queue_due(&mut self, now: UnixMs) {
        let now = UnixMs(now.0 - now.0.rem_euclid(TICK));
        for _ in 0..MOST {
            let Some((due, id)) = self.schedule.pop_due(now) else { break };
            let stands = |t: &Tracked| t.due == due && matches!(t.place, Place::Idle);
            if self.tracked.get(&id).is_some_and(|t| stands(t)) {
                self.queue(id);
            }
        }
        let tracked = &self.tracked;
        self.schedule.tidy(tracked.len(), |due, id| tracked.get(&id).is_some_and(|t| t.due == due));
    }

    /// Puts an instance in line for a slot.
    pub(super) fn queue(&mut self, id: InstanceId) {
        let Some(tracked) = self.tracked.get_mut(&id) else { return };
        match tracked.place {
            Place::Queued => {}
            Place::Delayed(_) => {
                self.delayed -= 1;
                self.queued += 1;
            }
            Place::Idle | Place::Running(..) => self.queued += 1,
        }
        tracked.place = Place::Queued;
        self.ready.push(tracked.class(), tracked.namespace, id);
    }

    fn start_ready(&mut self, now: UnixMs) {
        for _ in 0..MOST {
            if !self.slots.free() {
                return;
            }
            let Some(id) = self.ready.pop(self.slots.free_for_slow()) else { return };
            if self.tracked.get(&id).is_some_and(|tracked| matches!(tracked.place, Place::Queued)) {
                self.queued -= 1;
                self.start(id, now);
            }
        }
    }

    fn start(&mut self, id: InstanceId, now: UnixMs) {
        let leads = self.leadership.probes();
        let Some(tracked) = self.tracked.get_mut(&id) else { return };
        if !leads {
            tracked.place = Place::Idle;
            tracked.plan(crate::model::health::Next::Scheduled, now, now);
            self.schedule.push(tracked.due, id);
            let waiters = std::mem::take(&mut tracked.waiters);
            for (ticket, _) in waiters {
                self.tickets.fail(ticket, CheckNowError::Unavailable);
            }
            return;
        }
        let waited = tracked.let_out.take();
        if waited.is_none() && !tracked.class().urgent {
            self.tally.lag(now.since(tracked.due));
        }
        let job = Job {
            instance: id,
            generation: tracked.generation,
            target: Arc::clone(&tracked.target),
            timeout: tracked.timing.timeout,
            waited,
        };
        let slot = self.slots.take(tracked.slow());
        let task = self.probes.spawn(job.run(Arc::clone(&self.tools), slot));
        tracked.place = Place::Running(task, now);
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
                if self.take_out(id, key) {
                    break again;
                }
            };
            if let Some(at) = again {
                self.wake_address(key, at);
            }
        }
    }

    /// Whether the instance still waits for the address; then it is queued for a slot.
    fn take_out(&mut self, id: InstanceId, key: IpAddr) -> bool {
        let Some(tracked) = self.tracked.get_mut(&id) else { return false };
        if !matches!(tracked.place, Place::Delayed(address) if address == key) {
            return false;
        }
        tracked.let_out = Some(key);
        self.queue(id);
        true
    }

    /// Looks at an address again at `at`, unless it is looked at anyway.
    pub(super) fn wake_address(&mut self, key: IpAddr, at: UnixMs) {
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
            if tracked.state.unproven_at(&tracked.timing) <= now.steady {
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
        let lag = u64::try_from(self.tally.take_worst_lag().as_millis()).unwrap_or(u64::MAX);
        self.status.worst_lag_ms.store(lag, Ordering::Relaxed);
        let tracked = &self.tracked;
        self.silence.tidy(tracked.len(), |at, id| tracked.get(&id).is_some_and(|t| t.watched == Some(at)));
    }

    fn tell(&mut self) {
        let status = &self.status;
        let (tracked, in_flight) = (self.tracked.len(), self.slots.taken());
        status.tracked.store(tracked, Ordering::Relaxed);
        status.in_flight.store(in_flight, Ordering::Relaxed);
        status.queued.store(self.queued, Ordering::Relaxed);
        status.delayed.store(self.delayed, Ordering::Relaxed);
        status.uncommitted.store(self.commits.len(), Ordering::Relaxed);
        self.tally.sizes(tracked, in_flight, self.queued, self.tickets.len());
    }
}
