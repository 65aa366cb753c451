//! What the prober sends to the store.

use serde::{Deserialize, Serialize};

use super::health::CheckState;
use super::name::CheckName;
use super::outcome::{Health, Outcome, Reason, Transition};
use super::service::{InstanceId, Warning};
use super::time::UnixMs;

/// Most samples of one instance: enough for a sparkline.
pub const MAX_SAMPLES: usize = 60;

/// One past probe, for a sparkline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sample {
    /// Start, wall clock.
    pub at: UnixMs,
    /// Duration in microseconds; `None` if the probe failed or was inconclusive.
    pub total_us: Option<u32>,
    /// The HTTP or gRPC status, if there was one.
    pub code: Option<u16>,
}

/// A change that readers notice; committed at once, with a new revision.
#[derive(Debug, Clone, PartialEq)]
pub struct HealthChange {
    /// Which instance.
    pub instance: InstanceId,
    /// The generation that was probed; the writer drops a stale one.
    pub generation: u64,
    /// The check that decides the health, and whose state this is.
    pub check: CheckName,
    /// What does not pass although the instance is usable, as readers see it now.
    pub warning: Option<Warning>,
    /// The checks that do not pass besides those two, as readers see it now; by position.
    pub also_failing: Box<[CheckName]>,
    /// The version that its answers report, as readers see it now.
    pub observed_version: Option<String>,
    /// The new health.
    pub health: Health,
    /// Its reason.
    pub reason: Reason,
    /// When it started, wall clock.
    pub since: UnixMs,
    /// The reason as a sentence of the deciding probe, for an object's status; `None` if no probe decided it.
    pub message: Option<String>,
    /// Becomes history; `None` if only the reason or the message changed.
    pub transition: Option<Transition>,
    /// Stored in the same transaction, so that a crash cannot separate health and streak.
    pub state: CheckState,
}

/// The state of an instance's probing; coalesced, flushed every 2 s, without a new revision.
#[derive(Debug, Clone, PartialEq)]
pub struct ProbeRow {
    /// Which instance.
    pub instance: InstanceId,
    /// The generation that was probed; the writer drops a stale one.
    pub generation: u64,
    /// Which of its checks.
    pub check: CheckName,
    /// The state of the health state machine.
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
