//! How many probes may run: counted slots, some of them reserved for targets that answer.
//!
//! Hung targets may use every slot that answering ones leave. Answering ones get a free slot first, and a *reserve* keeps them from
//! waiting for a whole timeout: twice as many slots as they need on average ([`Demand`]) and one more, at most half. Where nothing
//! answers there is no reserve, and the hung ones may use all.

use crate::model::sync::Arc;
use crate::model::sync::atomic::{AtomicI64, AtomicU8, AtomicUsize, Ordering};

/// Local ports that probes may hold at most; Linux hands out about 28,000
/// ([ip_local_port_range](https://docs.kernel.org/networking/ip-sysctl.html)).
const PORTS: usize = 20_000;

/// Slots for probes.
#[derive(Debug)]
pub(crate) struct Slots {
    all: usize,
    taken: AtomicUsize,
    /// Taken by probes that hang, or may hang.
    slow: AtomicI64,
}

impl Slots {
    /// `wanted` slots within the local ports, at least 1.
    pub(crate) fn new(wanted: usize) -> Arc<Self> {
        Arc::new(Self { all: wanted.clamp(1, PORTS), taken: AtomicUsize::new(0), slow: AtomicI64::new(0) })
    }

    pub(crate) fn all(&self) -> usize {
        self.all
    }

    pub(crate) fn taken(&self) -> usize {
        self.taken.load(Ordering::Acquire)
    }

    /// Whether one is free for any probe.
    pub(crate) fn free(&self) -> bool {
        self.taken() < self.all
    }

    /// Whether a probe that may hang may take one, while `reserve` are kept from such.
    pub(crate) fn free_for_slow(&self, reserve: usize) -> bool {
        let room = self.all.saturating_sub(reserve).max(1);
        self.free() && self.slow.load(Ordering::Acquire) < i64::try_from(room).unwrap_or(i64::MAX)
    }

    /// Takes one. Only one task takes slots, and it asks [`Slots::free`] first.
    pub(crate) fn take(self: &Arc<Self>, slow: bool) -> Slot {
        self.taken.fetch_add(1, Ordering::AcqRel);
        if slow {
            self.slow.fetch_add(1, Ordering::AcqRel);
        }
        let state = AtomicU8::new(if slow { SLOW } else { QUICK });
        Slot(Arc::new(Hold { slots: Arc::clone(self), state }))
    }
}

const QUICK: u8 = 0;
const SLOW: u8 = 1;
const ENDED: u8 = 2;

/// One slot in use, as the engine sees it.
#[derive(Debug)]
pub(crate) struct Hold {
    slots: Arc<Slots>,
    state: AtomicU8,
}

impl Hold {
    /// Counts its probe among those that hang, unless it has ended or is counted already.
    pub(crate) fn turn_slow(&self) {
        self.slots.slow.fetch_add(1, Ordering::AcqRel);
        if self.state.compare_exchange(QUICK, SLOW, Ordering::AcqRel, Ordering::Acquire).is_err() {
            self.slots.slow.fetch_sub(1, Ordering::AcqRel);
        }
    }
}

/// A slot in use; free again when dropped, however its probe ends.
#[derive(Debug)]
pub(crate) struct Slot(Arc<Hold>);

impl Slot {
    /// A reference to look at the slot while its probe runs.
    pub(crate) fn hold(&self) -> Arc<Hold> {
        Arc::clone(&self.0)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let slots = &self.0.slots;
        if self.0.state.swap(ENDED, Ordering::AcqRel) == SLOW {
            slots.slow.fetch_sub(1, Ordering::AcqRel);
        }
        slots.taken.fetch_sub(1, Ordering::AcqRel);
    }
}

/// What answering targets need: for each, the part of its interval that its last probe took.
#[derive(Debug, Default)]
pub(crate) struct Demand {
    /// Slots in use on average, in millionths.
    millionths: u64,
    targets: usize,
}

impl Demand {
    /// Replaces the need of one target; none while it hangs, or was not probed.
    pub(crate) fn replace(&mut self, before: Option<u32>, now: Option<u32>) {
        let of = |need: Option<u32>| (u64::from(need.unwrap_or(0)), usize::from(need.is_some()));
        let ((removed, removed_targets), (added, added_targets)) = (of(before), of(now));
        self.millionths = (self.millionths + added).saturating_sub(removed);
        self.targets = (self.targets + added_targets).saturating_sub(removed_targets);
    }

    /// How many of `all` slots hung targets may not take.
    pub(crate) fn reserve(&self, all: usize) -> usize {
        if self.targets == 0 {
            return 0;
        }
        let twice = usize::try_from((2 * self.millionths).div_ceil(1_000_000)).unwrap_or(usize::MAX);
        twice.saturating_add(1).min(all / 2)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn hung_probes_take_all_that_the_reserve_leaves() {
        let slots = Slots::new(8);
        let held: Vec<_> = (0..7).map(|_| slots.take(true)).collect();
        assert!(slots.free_for_slow(0) && slots.free() && !slots.free_for_slow(1));
        drop(held);
        assert!(slots.free_for_slow(1));
        let one = Slots::new(1);
        assert!(one.free_for_slow(1), "the only slot serves slow ones too");
    }

    #[test]
    fn a_probe_that_turns_out_to_hang_counts_as_hung_until_it_ends() {
        let slots = Slots::new(2);
        let slot = slots.take(false);
        let hold = slot.hold();
        assert!(slots.free_for_slow(1));
        hold.turn_slow();
        hold.turn_slow();
        assert!(!slots.free_for_slow(1) && slots.free());
        drop(slot);
        hold.turn_slow();
        assert!(slots.free_for_slow(1) && slots.taken() == 0);
    }

    #[test]
    fn slots_fit_the_ports() {
        assert_eq!([0, 1024, 60_000].map(|wanted| Slots::new(wanted).all()), [1, 1024, PORTS]);
    }

    #[test]
    fn the_reserve_follows_what_answers() {
        let mut demand = Demand::default();
        assert_eq!(demand.reserve(1024), 0, "nothing answers, so nothing is reserved");
        demand.replace(None, Some(100));
        assert_eq!((demand.reserve(1024), demand.reserve(1)), (2, 0));
        for _ in 0..100 {
            demand.replace(None, Some(1_000_000));
        }
        assert_eq!((demand.reserve(1024), demand.reserve(20)), (202, 10), "at most half");
    }

    proptest! {
        /// However probes start, turn out to hang and end, the counts return to zero and never exceed the bounds.
        #[test]
        fn counts_hold(steps in proptest::collection::vec((0_u8..4, 0_usize..16), 0..400), reserve in 0_usize..8) {
            let slots = Slots::new(8);
            let mut held: Vec<Slot> = Vec::new();
            for (what, which) in steps {
                match what {
                    0 if slots.free() => held.push(slots.take(false)),
                    1 if slots.free_for_slow(reserve) => held.push(slots.take(true)),
                    2 if !held.is_empty() => held[which % held.len()].hold().turn_slow(),
                    3 if !held.is_empty() => drop(held.swap_remove(which % held.len())),
                    _ => {}
                }
                prop_assert_eq!(slots.taken(), held.len());
                prop_assert!(slots.taken() <= 8);
            }
            held.clear();
            prop_assert_eq!(slots.slow.load(Ordering::SeqCst), 0);
        }
    }
}
