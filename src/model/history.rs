//! What became of an instance: the entries of history.

use super::name::InstanceName;
use super::outcome::{Health, Outcome, Reason};
use super::time::UnixMs;

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HistoryEvent {
    /// Health changed.
    Health,
    /// The instance was deregistered.
    Removed,
}

impl HistoryEvent {
    /// The word in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Health => "health",
            Self::Removed => "removed",
        }
    }
}

/// One entry of a service's history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryEntry {
    /// The cursor; grows with time.
    pub id: i64,
    /// What happened.
    pub event: HistoryEvent,
    /// The instance.
    pub instance: InstanceName,
    /// When it happened, wall clock.
    pub at: UnixMs,
    /// Health before.
    pub from: Health,
    /// Health after; none for [`HistoryEvent::Removed`].
    pub to: Option<Health>,
    /// Why; none for [`HistoryEvent::Removed`].
    pub reason: Option<Reason>,
    /// One sentence built by Portolan.
    pub message: String,
    /// The probe that decided.
    pub evidence: Option<Outcome>,
}
