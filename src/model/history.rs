//! What became of an instance: the entries of history.

use super::name::{CheckName, InstanceName};
use super::outcome::{Health, Outcome, Reason};
use super::time::UnixMs;

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HistoryEvent {
    /// Health changed.
    Health,
    /// The instance was removed: deregistered, or its lease ran out.
    Removed,
    /// The instance was taken out of selection, or its drain got another reason or end.
    Drained,
    /// A drain ended.
    Undrained,
    /// Somebody acknowledged a failure of the instance, or of the whole service.
    Acknowledged,
    /// An acknowledgement ended.
    Unacknowledged,
}

impl HistoryEvent {
    /// Every event.
    pub const ALL: &[Self] =
        &[Self::Health, Self::Removed, Self::Drained, Self::Undrained, Self::Acknowledged, Self::Unacknowledged];

    /// The word in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Health => "health",
            Self::Removed => "removed",
            Self::Drained => "drained",
            Self::Undrained => "undrained",
            Self::Acknowledged => "acknowledged",
            Self::Unacknowledged => "unacknowledged",
        }
    }

    /// Whether it changes health or ends the instance; the others leave its health as it is.
    pub const fn is_of_health(self) -> bool {
        matches!(self, Self::Health | Self::Removed)
    }
}

impl std::str::FromStr for HistoryEvent {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.iter().copied().find(|event| event.as_str() == text).ok_or("an unknown event")
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
    /// Health after, the same as before for a drain or an acknowledgement; none for [`HistoryEvent::Removed`].
    pub to: Option<Health>,
    /// Why; none for [`HistoryEvent::Removed`].
    pub reason: Option<Reason>,
    /// The check that decided; `default` where none did.
    pub check: CheckName,
    /// One sentence built by Portolan.
    pub message: String,
    /// The probe that decided.
    pub evidence: Option<Outcome>,
}
