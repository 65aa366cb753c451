//! What the prober hands to the store.

use serde::{Deserialize, Serialize};

use super::health::CheckState;
use super::outcome::{Health, Outcome, Reason, Transition};
use super::service::InstanceId;
use super::time::UnixMs;

/// Samples kept of one instance: enough for a sparkline.
pub const MAX_SAMPLES: usize = 60;

/// One past probe, as a sparkline needs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sample {
    /// Start, wall clock.
    pub at: UnixMs,
    /// The whole probe, in microseconds; none where it failed or was inconclusive.
    pub total_us: Option<u32>,
    /// HTTP or gRPC status, where there was one.
    pub code: Option<u16>,
}

/// A change that readers notice: committed at once, with one revision.
#[derive(Debug, Clone, PartialEq)]
pub struct HealthChange {
    /// Which instance.
    pub instance: InstanceId,
    /// The generation that was probed; the writer drops a stale one.
    pub generation: u64,
    /// Health from now on.
    pub health: Health,
    /// Why.
    pub reason: Reason,
    /// Since when, wall clock.
    pub since: UnixMs,
    /// Why, in the words of the probe that decided it, for status; none where there was none.
    pub message: Option<String>,
    /// Kept as history; none where only the reason or the words changed.
    pub transition: Option<Transition>,
    /// Stored in the same transaction, so that a crash cannot part health and streak.
    pub state: CheckState,
}

/// What is known of an instance's probing: coalesced, flushed every 2 s, moves no revision.
#[derive(Debug, Clone, PartialEq)]
pub struct ProbeRow {
    /// Which instance.
    pub instance: InstanceId,
    /// The generation that was probed; the writer drops a stale one.
    pub generation: u64,
    /// The state machine's state.
    pub state: CheckState,
    /// When the next probe is due, on the steady clock.
    pub next_due: UnixMs,
    /// The newest outcome.
    pub last: Option<Outcome>,
    /// The newest passing outcome.
    pub last_pass: Option<Outcome>,
    /// The newest [`MAX_SAMPLES`], oldest first.
    pub samples: Vec<Sample>,
}
