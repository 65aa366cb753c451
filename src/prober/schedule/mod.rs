//! When a probe starts.
//!
//! - In: due moments, instances that a person or the guard wants now, slots and addresses that become free.
//! - Out: the next instance to probe, and when to look again.
//!
//! An instance goes from *due* to *queued*; it starts when there is a slot and room for one more runnable probe. If its address's budget
//! is spent it is *delayed* in the address's own queue, and comes back. [`Scheduler`] combines the files, read in this order: `due` (the
//! due moments), [`limits`](super::limits) (who is next, and what may start), `lag` (how late probes start) and `detection_time` (how long
//! a total outage may go unnoticed).

pub(crate) mod detection_time;
mod due;
mod lag;

use std::net::IpAddr;
use std::time::Duration;

use tokio::time::Instant;

pub(crate) use self::due::{DueQueue, spread};
use self::lag::LagMeter;
pub(crate) use self::lag::{Reading, UNSTRETCHED};
use crate::model::service::CheckId;
use crate::model::time::UnixMs;
use crate::prober::limits::fair_queue::FairQueue;
use crate::prober::limits::{AddressQueues, Capacity, Delay, DelayedCheck, Slot};
use crate::prober::targets::{ProbePhase, Targets, Tracked};

/// Instances queued in one tick at most: an overloaded machine must not keep the engine from its other events.
const BATCH: usize = 512;
/// Due moments are rounded up to ticks, so that what happens together shares its wake-ups.
pub(crate) const TICK: Duration = Duration::from_millis(TICK_MS.unsigned_abs());
const TICK_MS: i64 = 5;

/// Decides which instance is probed next.
#[derive(Debug)]
pub(crate) struct Scheduler {
    due: DueQueue,
    silence: DueQueue,
    ready: FairQueue,
    /// Instances in `ready`, without outdated entries.
    queued: usize,
    /// Instances in `addresses`, without outdated entries.
    delayed: usize,
    capacity: Capacity,
    addresses: AddressQueues,
    /// Of quick targets, and of those that may hang.
    lag: [LagMeter; 2],
    /// The number of instances for which the detection time was computed.
    computed_for: usize,
}

impl Scheduler {
    pub(crate) fn new(capacity: Capacity, addresses: AddressQueues) -> Self {
        Self {
            due: DueQueue::default(),
            silence: DueQueue::default(),
            ready: FairQueue::default(),
            queued: 0,
            delayed: 0,
            capacity,
            addresses,
            lag: Default::default(),
            computed_for: 0,
        }
    }

    /// Drops everything that is queued; probes that still run keep their slots.
    pub(crate) fn clear(&mut self) {
        (self.due, self.silence, self.ready) = (DueQueue::default(), DueQueue::default(), FairQueue::default());
        (self.queued, self.delayed) = (0, 0);
        self.lag = Default::default();
        self.capacity.forget_needs();
    }

    /// A tick at `at`, `late` after it was planned.
    pub(crate) fn tick(&mut self, at: Instant, late: Duration) {
        self.capacity.tick(at, late);
    }

    /// The next moment at which something is due or may start. What waits for a slot has none: a probe's end wakes the engine then.
    pub(crate) fn next(&self, now: UnixMs) -> Option<UnixMs> {
        [self.next_start(now), self.silence.next(), self.addresses.next()].into_iter().flatten().min()
    }

    fn next_start(&self, now: UnixMs) -> Option<UnixMs> {
        let tick_of = |at: UnixMs| UnixMs(at.0.saturating_add((-at.0).rem_euclid(TICK_MS)));
        let due = self.due.next().map(tick_of);
        let startable = self.queued > 0 && self.capacity.has_slot(self.ready.has_quick());
        match (startable, self.capacity.room()) {
            (false, _) => due,
            (true, 0) => Some(now.plus(TICK).min(due.unwrap_or(UnixMs(i64::MAX)))),
            (true, _) => Some(UnixMs(i64::MIN)),
        }
    }

    /// Whether one that may hang has to wait for a slot.
    pub(crate) fn slots_are_short(&self) -> bool {
        self.queued > 0 && !self.capacity.has_slot_for_slow()
    }

    /// Takes over the instance's due moment; an earlier one is outdated.
    pub(crate) fn schedule(&mut self, tracked: &Tracked) {
        self.due.push(tracked.due, tracked.id);
    }

    /// Queues the instances that are due.
    pub(crate) fn queue_due(&mut self, targets: &mut Targets, now: UnixMs) {
        let now = UnixMs(now.0 - now.0.rem_euclid(TICK_MS));
        for _ in 0..BATCH {
            let Some((due, id)) = self.due.pop_due(now) else { break };
            if let Some(tracked) = targets.get_mut(id).filter(|tracked| tracked.due == due && tracked.is_idle()) {
                self.queue(tracked, due);
            }
        }
        self.due.tidy(targets.len(), |due, id| targets.get(id).is_some_and(|tracked| tracked.due == due));
    }

    /// Queues an instance, which waits since then, for a slot.
    fn queue(&mut self, tracked: &mut Tracked, since: UnixMs) {
        if matches!(tracked.phase, ProbePhase::Delayed(..)) {
            self.delayed -= 1;
        }
        if !matches!(tracked.phase, ProbePhase::Queued(_)) {
            self.queued += 1;
            tracked.phase = ProbePhase::Queued(since);
            self.lag[usize::from(tracked.may_hang())].waits(since, tracked.id);
        }
        self.ready.push(tracked.priority(), tracked.namespace, tracked.gap(), tracked.id);
    }

    /// Queues an instance that became urgent ahead of the others, unless it is there already, runs, or waits for its address.
    pub(crate) fn hasten(&mut self, tracked: &mut Tracked, was_urgent: bool, now: UnixMs) {
        let behind = match tracked.phase {
            ProbePhase::Idle => true,
            ProbePhase::Queued(_) => !was_urgent,
            ProbePhase::Running(..) | ProbePhase::Delayed(..) => false,
        };
        if behind {
            self.queue(tracked, tracked.due.min(now));
        }
    }

    /// The instance to start now, and since when it waits; none while nothing may start.
    pub(crate) fn pop_ready(&mut self, targets: &Targets) -> Option<(CheckId, UnixMs)> {
        while self.capacity.has_any_slot() && self.capacity.room() > 0 {
            let id = self.ready.pop(self.capacity.has_slot_for_slow())?;
            if let Some(ProbePhase::Queued(since)) = targets.get(id).map(|tracked| &tracked.phase) {
                self.queued -= 1;
                return Some((id, *since));
            }
        }
        None
    }

    /// Takes a slot for an instance's probe that starts at `at`.
    pub(crate) fn take_slot(&mut self, tracked: &Tracked, at: Instant) -> Slot {
        self.capacity.take(tracked.may_hang(), at)
    }

    /// Notes that a regular probe starts this late.
    pub(crate) fn note_start(&mut self, tracked: &Tracked, late: Duration) {
        self.lag[usize::from(tracked.may_hang())].started(tracked.timing.interval, late);
    }

    /// Notes that a probe that started at `at` has ended.
    pub(crate) fn probe_ended(&mut self, at: Instant) {
        self.capacity.ended(at);
    }

    /// Takes over other numbers of a check: its due moment, its need, and when its silence is judged.
    pub(crate) fn retimed(&mut self, tracked: &mut Tracked, now: UnixMs) {
        self.computed_for = 0;
        if tracked.lease().is_some() {
            return;
        }
        self.update_need(tracked);
        self.watch_silence(tracked, now);
        if tracked.is_idle() {
            self.schedule(tracked);
        }
    }

    /// Counts what the instance needs of the slots after its last probe.
    pub(crate) fn update_need(&mut self, tracked: &mut Tracked) {
        let need = tracked.need();
        self.capacity.replace_need(std::mem::replace(&mut tracked.counted_need, need), need);
    }

    /// Queues an instance for its address, whose budget is spent. `released_by` is the address whose queue had released it.
    pub(crate) fn delay(&mut self, tracked: &mut Tracked, delay: Delay, released_by: Option<IpAddr>, now: UnixMs) {
        tracked.phase = ProbePhase::Delayed(delay.key, now);
        self.delayed += 1;
        let (priority, namespace, gap) = (tracked.priority(), tracked.namespace, tracked.gap());
        let delayed = DelayedCheck { check: tracked.id, priority, namespace, gap };
        self.addresses.wait(delay, &delayed, released_by == Some(delay.key));
    }

    /// Releases instances that waited for an address, one per step of its rate.
    pub(crate) fn release_delayed(&mut self, targets: &mut Targets, now: UnixMs) {
        while let Some(key) = self.addresses.pop_wakeup(now) {
            let again = loop {
                let (released, again) = self.addresses.release(key, now);
                let Some(id) = released else { break again };
                if self.queue_released(targets, id, key, now) {
                    break again;
                }
            };
            if let Some(at) = again {
                self.addresses.wake(key, at);
            }
        }
    }

    /// Queues an instance for a slot if it still waits for the address.
    fn queue_released(&mut self, targets: &mut Targets, id: CheckId, key: IpAddr, now: UnixMs) -> bool {
        let Some(tracked) = targets.get_mut(id) else { return false };
        let ProbePhase::Delayed(address, since) = tracked.phase else { return false };
        if address != key {
            return false;
        }
        tracked.excuse(now.since(since));
        tracked.released_by = Some(key);
        self.queue(tracked, now);
        true
    }

    /// When the instance's address could be probed, as far as it is known; not later than `now` when at once.
    pub(crate) fn room_at(&self, tracked: &Tracked, now: UnixMs) -> UnixMs {
        let hangs = tracked.may_hang();
        match (&tracked.phase, &tracked.last) {
            (ProbePhase::Running(..), _) | (_, None) => now,
            (ProbePhase::Delayed(key, _), _) => self.addresses.room_at(*key, hangs, now),
            (_, Some(last)) => last.address.map_or(now, |at| self.addresses.room_at_address(at.ip(), hangs, now)),
        }
    }

    /// Plans to judge an instance's silence when it could have lasted too long.
    pub(crate) fn watch_silence(&mut self, tracked: &mut Tracked, now: UnixMs) {
        let at = tracked.unproven_at(now);
        if tracked.silence_at.is_none() && at < UnixMs(i64::MAX) {
            tracked.silence_at = Some(at);
            self.silence.push(at, tracked.id);
        }
    }

    /// The next instance whose silence is to be judged now, if that moment is still the one planned for it.
    pub(crate) fn pop_silence(&mut self, now: UnixMs) -> Option<(UnixMs, CheckId)> {
        self.silence.pop_due(now)
    }

    /// Forgets an instance that is no longer probed; its probe is cancelled.
    pub(crate) fn forget(&mut self, tracked: &Tracked) {
        self.capacity.replace_need(tracked.counted_need, None);
        match &tracked.phase {
            ProbePhase::Idle => {}
            ProbePhase::Queued(_) => self.queued -= 1,
            ProbePhase::Delayed(..) => self.delayed -= 1,
            ProbePhase::Running(run) => run.task.abort(),
        }
    }

    /// Drops what is outdated, so that memory stays bounded.
    pub(crate) fn tidy(&mut self, targets: &Targets, now: UnixMs) {
        self.addresses.sweep(now);
        let is_current = |at, id| targets.get(id).is_some_and(|tracked| tracked.silence_at == Some(at));
        self.silence.tidy(targets.len(), is_current);
    }

    /// How far behind probing is: of targets that answer, and of those that may hang.
    pub(crate) fn read_lag(&mut self, targets: &Targets, now: UnixMs) -> [Reading; 2] {
        let is_current = |since, id| {
            targets.get(id).is_some_and(|tracked| matches!(tracked.phase, ProbePhase::Queued(at) if at == since))
        };
        let [answering, hanging] = self.lag.each_mut().map(|lane| {
            lane.tidy(targets.len(), is_current);
            let head = lane.head(is_current);
            let head = head.and_then(|(since, id)| Some((targets.get(id)?.timing.interval, now.since(since))));
            lane.read(head)
        });
        // Instances that are due and not even queued.
        let unqueued = self.due.next().map_or(Duration::ZERO, |due| now.since(due));
        [Reading { lag: answering.lag.max(unqueued), ..answering }, hanging]
    }

    /// The time within which everything would be known to be down if all targets hung now; none if it was computed for as many instances
    /// already.
    pub(crate) fn detection_time(&mut self, targets: &Targets) -> Option<Duration> {
        if self.computed_for == targets.len() {
            return None;
        }
        self.computed_for = targets.len();
        let probed = targets.iter().filter(|tracked| tracked.target().is_some());
        let all = probed.map(|tracked| (tracked.namespace, &tracked.timing));
        Some(detection_time::detection_time(all, self.capacity.slots()).unwrap_or_default())
    }

    pub(crate) fn slots(&self) -> usize {
        self.capacity.slots()
    }

    pub(crate) fn in_flight(&self) -> usize {
        self.capacity.taken()
    }

    pub(crate) fn queued(&self) -> usize {
        self.queued
    }

    pub(crate) fn delayed(&self) -> usize {
        self.delayed
    }
}
