//! What the prober tells about itself, read without disturbing it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;

use crate::prober::schedule::lag::{Reading, UNSTRETCHED};

/// What the guard does while it has nothing to do.
pub(crate) const GUARD_CLEAR: &str = "clear";

/// The prober has a turn at least this often while it has a processor.
const EVERY: Duration = Duration::from_secs(1);

/// Written by the prober, read by whoever asks.
#[derive(Debug)]
pub struct ProberStatus {
    pub(crate) tracked: AtomicUsize,
    pub(crate) slots: AtomicUsize,
    pub(crate) in_flight: AtomicUsize,
    pub(crate) queued: AtomicUsize,
    pub(crate) delayed: AtomicUsize,
    pub(crate) uncommitted: AtomicUsize,
    worst_lag_ms: AtomicU64,
    hanging_lag_ms: AtomicU64,
    stretch: AtomicU64,
    hanging_stretch: AtomicU64,
    all_known_s: AtomicU64,
    began: Instant,
    /// The newest turn, in milliseconds since it began, 0 before the first.
    turned_ms: AtomicU64,
    pub(crate) guard_holding: AtomicBool,
    pub(crate) guard: ArcSwap<String>,
}

impl Default for ProberStatus {
    fn default() -> Self {
        Self {
            tracked: AtomicUsize::default(),
            slots: AtomicUsize::default(),
            in_flight: AtomicUsize::default(),
            queued: AtomicUsize::default(),
            delayed: AtomicUsize::default(),
            uncommitted: AtomicUsize::default(),
            worst_lag_ms: AtomicU64::default(),
            hanging_lag_ms: AtomicU64::default(),
            stretch: AtomicU64::new(UNSTRETCHED),
            hanging_stretch: AtomicU64::new(UNSTRETCHED),
            all_known_s: AtomicU64::default(),
            began: Instant::now(),
            turned_ms: AtomicU64::default(),
            guard_holding: AtomicBool::default(),
            guard: ArcSwap::from_pointee(GUARD_CLEAR.to_owned()),
        }
    }
}

/// One reading of [`ProberStatus`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProberReport {
    /// Instances that are probed.
    pub tracked: usize,
    /// Probes that may be under way at once.
    pub slots: usize,
    /// Probes under way.
    pub in_flight: usize,
    /// Due probes that wait for a slot.
    pub queued: usize,
    /// Probes that wait for their address's budget.
    pub delayed: usize,
    /// Changes of health that are not yet in the store.
    pub uncommitted: usize,
    /// Longest time that a probe which was due has waited for its start in the last 2 to 4 seconds, milliseconds: of those that started and
    /// of those that still wait. Targets that hang are apart.
    pub worst_lag_ms: u64,
    /// The same of targets that hang, or are new.
    pub hanging_lag_ms: u64,
    /// What intervals are at the moment to what was asked for, in thousandths, ≥ 1,000.
    pub stretch: u64,
    /// The same of targets that hang, or are new.
    pub hanging_stretch: u64,
    /// Were all targets to hang now, the last one would be called unhealthy after so many seconds at most.
    pub all_known_s: u64,
    /// Whether the mass-failure guard holds changes to unhealthy.
    pub guard_holding: bool,
    /// What the guard does, in words.
    pub guard: Arc<String>,
}

impl ProberStatus {
    pub(crate) fn pressure(&self, answering: Reading, hanging: Reading) {
        self.worst_lag_ms.store(millis(answering.lag), Ordering::Relaxed);
        self.hanging_lag_ms.store(millis(hanging.lag), Ordering::Relaxed);
        self.stretch.store(answering.stretch, Ordering::Relaxed);
        self.hanging_stretch.store(hanging.stretch, Ordering::Relaxed);
    }

    pub(crate) fn all_known(&self, within: Duration) {
        self.all_known_s.store(within.as_secs(), Ordering::Relaxed);
    }

    /// The prober has a turn.
    pub(crate) fn turned(&self) {
        self.turned_ms.store(millis(self.began.elapsed()).max(1), Ordering::Relaxed);
    }

    /// How long the prober has had no turn though one was due: its threads get no processor, and it cannot say so itself.
    fn silent_ms(&self) -> u64 {
        let turned = self.turned_ms.load(Ordering::Relaxed);
        let since = millis(self.began.elapsed()).saturating_sub(turned);
        if turned == 0 || since < millis(EVERY) { 0 } else { since }
    }

    /// This moment's reading.
    pub fn read(&self) -> ProberReport {
        ProberReport {
            tracked: self.tracked.load(Ordering::Relaxed),
            slots: self.slots.load(Ordering::Relaxed),
            in_flight: self.in_flight.load(Ordering::Relaxed),
            queued: self.queued.load(Ordering::Relaxed),
            delayed: self.delayed.load(Ordering::Relaxed),
            uncommitted: self.uncommitted.load(Ordering::Relaxed),
            worst_lag_ms: self.worst_lag_ms.load(Ordering::Relaxed).max(self.silent_ms()),
            hanging_lag_ms: self.hanging_lag_ms.load(Ordering::Relaxed),
            stretch: self.stretch.load(Ordering::Relaxed),
            hanging_stretch: self.hanging_stretch.load(Ordering::Relaxed),
            all_known_s: self.all_known_s.load(Ordering::Relaxed),
            guard_holding: self.guard_holding.load(Ordering::Relaxed),
            guard: self.guard.load_full(),
        }
    }
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prober_without_a_processor_is_late_though_it_cannot_say_so() {
        let mut status = ProberStatus::default();
        status.began -= Duration::from_secs(10);
        assert_eq!(status.read().worst_lag_ms, 0, "it has not begun");
        status.turned();
        assert_eq!(status.read().worst_lag_ms, 0);
        status.began -= Duration::from_secs(7);
        assert!((7000..60_000).contains(&status.read().worst_lag_ms));
    }
}
