//! The prober's figures about itself, read without disturbing it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;

use super::Sizes;
use crate::prober::guard::GuardState;
use crate::prober::schedule::{Reading, UNSTRETCHED};

const GUARD_CLEAR: &str = "clear";

/// The engine ticks at least this often while it gets the processor.
const EVERY: Duration = Duration::from_secs(1);

/// Figures that the engine writes and anyone may read.
#[derive(Debug)]
pub struct ProberStatus {
    tracked: AtomicUsize,
    slots: usize,
    in_flight: AtomicUsize,
    queued: AtomicUsize,
    delayed: AtomicUsize,
    uncommitted: AtomicUsize,
    worst_lag_ms: AtomicU64,
    hanging_lag_ms: AtomicU64,
    stretch: AtomicU64,
    hanging_stretch: AtomicU64,
    all_known_s: AtomicU64,
    began: Instant,
    /// The newest tick, in milliseconds since it began, 0 before the first.
    ticked_ms: AtomicU64,
    guard_holding: AtomicBool,
    guard: ArcSwap<String>,
}

impl ProberStatus {
    /// The status of an engine with this many slots, before its first tick.
    pub(crate) fn new(slots: usize) -> Self {
        Self {
            tracked: AtomicUsize::default(),
            slots,
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
            ticked_ms: AtomicU64::default(),
            guard_holding: AtomicBool::default(),
            guard: ArcSwap::from_pointee(GUARD_CLEAR.to_owned()),
        }
    }
}

impl Default for ProberStatus {
    fn default() -> Self {
        Self::new(0)
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
    /// Actual intervals relative to the requested ones, in thousandths, ≥ 1,000.
    pub stretch: u64,
    /// The same of targets that hang, or are new.
    pub hanging_stretch: u64,
    /// If all targets hung now: the most seconds until the last of them is reported as unhealthy.
    pub all_known_s: u64,
    /// Whether the mass-failure guard holds changes to unhealthy.
    pub guard_holding: bool,
    /// What the guard does, in words.
    pub guard: Arc<String>,
}

impl ProberStatus {
    pub(crate) fn lags(&self, answering: Reading, hanging: Reading) {
        self.worst_lag_ms.store(millis(answering.lag), Ordering::Relaxed);
        self.hanging_lag_ms.store(millis(hanging.lag), Ordering::Relaxed);
        self.stretch.store(answering.stretch, Ordering::Relaxed);
        self.hanging_stretch.store(hanging.stretch, Ordering::Relaxed);
    }

    pub(crate) fn detection_time(&self, within: Duration) {
        self.all_known_s.store(within.as_secs(), Ordering::Relaxed);
    }

    /// Notes a tick, and the sizes after it.
    pub(crate) fn tick(&self, sizes: Sizes) {
        self.ticked_ms.store(millis(self.began.elapsed()).max(1), Ordering::Relaxed);
        self.tracked.store(sizes.tracked, Ordering::Relaxed);
        self.in_flight.store(sizes.in_flight, Ordering::Relaxed);
        self.queued.store(sizes.queued, Ordering::Relaxed);
        self.delayed.store(sizes.delayed, Ordering::Relaxed);
        self.uncommitted.store(sizes.uncommitted, Ordering::Relaxed);
    }

    /// Notes what the guard does, with this many falls held or waiting to be released.
    pub(crate) fn guard(&self, state: GuardState, held: usize) {
        let text = match state {
            GuardState::Clear if held == 0 => GUARD_CLEAR.to_owned(),
            GuardState::Clear => format!("releasing {held} held changes"),
            GuardState::Asking { .. } => "probing other targets to find out whether the network is at fault".to_owned(),
            GuardState::Holding { until, .. } => {
                format!("holds {held} changes to unhealthy until {until} at the latest")
            }
        };
        if **self.guard.load() != text {
            self.guard.store(Arc::new(text));
        }
        self.guard_holding.store(matches!(state, GuardState::Holding { .. }), Ordering::Relaxed);
    }

    /// How long the engine has had no tick although one was due: its threads get no processor, and it cannot report that itself.
    fn silent_ms(&self) -> u64 {
        let ticked = self.ticked_ms.load(Ordering::Relaxed);
        let since = millis(self.began.elapsed()).saturating_sub(ticked);
        if ticked == 0 || since < millis(EVERY) { 0 } else { since }
    }

    /// This moment's reading.
    pub fn read(&self) -> ProberReport {
        ProberReport {
            tracked: self.tracked.load(Ordering::Relaxed),
            slots: self.slots,
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

    const SIZES: Sizes = Sizes { tracked: 0, in_flight: 0, queued: 0, delayed: 0, uncommitted: 0, checks: 0 };

    #[test]
    fn an_engine_without_a_processor_counts_as_late() {
        let mut status = ProberStatus::new(1);
        status.began -= Duration::from_secs(10);
        assert_eq!(status.read().worst_lag_ms, 0, "it has not begun");
        status.tick(SIZES);
        assert_eq!(status.read().worst_lag_ms, 0);
        status.began -= Duration::from_secs(7);
        assert!((7000..60_000).contains(&status.read().worst_lag_ms));
    }
}
