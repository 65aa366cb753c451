//! How many probes may be under way: counted slots.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Local ports that probes may hold at most; Linux hands out about 28,000
/// ([ip_local_port_range](https://docs.kernel.org/networking/ip-sysctl.html)).
const PORTS: usize = 20_000;

/// Slots for probes. Slow ones hold at most half.
#[derive(Debug)]
pub(super) struct Slots {
    all: usize,
    taken: AtomicUsize,
    slow: AtomicUsize,
}

impl Slots {
    /// `wanted` slots within the local ports, at least 1.
    pub(super) fn new(wanted: usize) -> Arc<Self> {
        Arc::new(Self { all: wanted.clamp(1, PORTS), taken: AtomicUsize::new(0), slow: AtomicUsize::new(0) })
    }

    /// How many there are.
    pub(super) fn all(&self) -> usize {
        self.all
    }

    /// How many are taken.
    pub(super) fn taken(&self) -> usize {
        self.taken.load(Ordering::Acquire)
    }

    /// Whether one is free for anybody.
    pub(super) fn free(&self) -> bool {
        self.taken() < self.all
    }

    /// Whether a slow one may take one too.
    pub(super) fn free_for_slow(&self) -> bool {
        self.free() && self.slow.load(Ordering::Acquire) < (self.all / 2).max(1)
    }

    /// Takes one. Only one task takes, and it asks [`Slots::free`] first.
    pub(super) fn take(self: &Arc<Self>, slow: bool) -> Slot {
        self.taken.fetch_add(1, Ordering::AcqRel);
        if slow {
            self.slow.fetch_add(1, Ordering::AcqRel);
        }
        Slot { slots: Arc::clone(self), slow }
    }
}

/// A slot in use; free again when dropped, however its probe ends.
#[derive(Debug)]
pub(super) struct Slot {
    slots: Arc<Slots>,
    slow: bool,
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.slots.taken.fetch_sub(1, Ordering::AcqRel);
        if self.slow {
            self.slots.slow.fetch_sub(1, Ordering::AcqRel);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slow_probes_leave_half_of_the_slots() {
        let slots = Slots::new(4);
        let held = [slots.take(true), slots.take(true)];
        assert!(slots.free() && !slots.free_for_slow());
        drop(held);
        assert!(slots.free_for_slow());
        let one = Slots::new(1);
        assert!(one.free_for_slow(), "the only slot serves slow ones too");
    }

    #[test]
    fn slots_fit_the_ports() {
        assert_eq!([0, 1024, 60_000].map(|wanted| Slots::new(wanted).all()), [1, 1024, PORTS]);
    }
}
