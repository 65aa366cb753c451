//! Slots and pace combined: what decides whether one more probe may start.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::pace::{Pace, hangs_at};
use super::slots::{Demand, Hold, Slot, Slots};

/// The capacity for probes of this process.
#[derive(Debug)]
pub(crate) struct Capacity {
    slots: Arc<Slots>,
    demand: Demand,
    pace: Pace,
    /// Probes of targets that answered last time, oldest first, to be counted among those that hang if they last as long.
    aging: VecDeque<(Instant, Arc<Hold>)>,
}

impl Capacity {
    /// For at most `concurrency` probes on `cores` cores.
    pub(crate) fn new(concurrency: usize, cores: usize) -> Self {
        Self {
            slots: Slots::new(concurrency),
            demand: Demand::default(),
            pace: Pace::new(cores),
            aging: VecDeque::new(),
        }
    }

    pub(crate) fn slots(&self) -> usize {
        self.slots.all()
    }

    pub(crate) fn taken(&self) -> usize {
        self.slots.taken()
    }

    pub(crate) fn has_any_slot(&self) -> bool {
        self.slots.free()
    }

    /// Whether one that may hang may take a slot.
    pub(crate) fn has_slot_for_slow(&self) -> bool {
        self.slots.free_for_slow(self.demand.reserve(self.slots.all()))
    }

    /// Whether there is a slot for one of those that wait, among them a quick one or not.
    pub(crate) fn has_slot(&self, quick_waits: bool) -> bool {
        self.slots.free() && (quick_waits || self.has_slot_for_slow())
    }

    /// How many more may become runnable.
    pub(crate) fn room(&self) -> usize {
        self.pace.room()
    }

    /// Takes a slot for a probe that starts at `at`.
    pub(crate) fn take(&mut self, slow: bool, at: Instant) -> Slot {
        let taken = self.slots.take(slow);
        if !slow {
            self.aging.push_back((at, taken.hold()));
        }
        self.pace.started(at);
        taken
    }

    /// Notes that a probe that started at `at` has ended.
    pub(crate) fn ended(&mut self, at: Instant) {
        self.pace.ended(at);
    }

    /// A tick at `now`, `late` after it was planned: adapts the pace, and counts probes among those that hang once they have lasted as
    /// long.
    pub(crate) fn tick(&mut self, now: Instant, late: Duration) {
        self.pace.tick(now, late);
        while let Some((at, hold)) = self.aging.front()
            && hangs_at(*at) <= now
        {
            hold.turn_slow();
            self.aging.pop_front();
        }
    }

    /// Replaces what one target needs of the slots, in millionths; none while it hangs, or was not probed.
    pub(crate) fn replace_need(&mut self, before: Option<u32>, now: Option<u32>) {
        self.demand.replace(before, now);
    }

    pub(crate) fn forget_needs(&mut self) {
        self.demand = Demand::default();
    }
}
