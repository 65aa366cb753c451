//! What the prober tells about itself, read without disturbing it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use arc_swap::ArcSwap;

/// What the guard does while it has nothing to do.
pub(super) const GUARD_CLEAR: &str = "clear";

/// Written by the prober, read by whoever asks.
#[derive(Debug)]
pub struct ProberStatus {
    pub(super) tracked: AtomicUsize,
    pub(super) slots: AtomicUsize,
    pub(super) in_flight: AtomicUsize,
    pub(super) queued: AtomicUsize,
    pub(super) delayed: AtomicUsize,
    pub(super) uncommitted: AtomicUsize,
    pub(super) worst_lag_ms: AtomicU64,
    pub(super) guard_holding: AtomicBool,
    pub(super) guard: ArcSwap<String>,
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
    /// Longest time between due moment and start in the last 2 to 4 seconds, milliseconds.
    pub worst_lag_ms: u64,
    /// Whether the mass-failure guard holds changes to unhealthy.
    pub guard_holding: bool,
    /// What the guard does, in words.
    pub guard: Arc<String>,
}

impl ProberStatus {
    /// This moment's reading.
    pub fn read(&self) -> ProberReport {
        ProberReport {
            tracked: self.tracked.load(Ordering::Relaxed),
            slots: self.slots.load(Ordering::Relaxed),
            in_flight: self.in_flight.load(Ordering::Relaxed),
            queued: self.queued.load(Ordering::Relaxed),
            delayed: self.delayed.load(Ordering::Relaxed),
            uncommitted: self.uncommitted.load(Ordering::Relaxed),
            worst_lag_ms: self.worst_lag_ms.load(Ordering::Relaxed),
            guard_holding: self.guard_holding.load(Ordering::Relaxed),
            guard: self.guard.load_full(),
        }
    }
}
