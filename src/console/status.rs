//! The status of a service, as rows and totals show it.

use super::data::{HistoryEntry, Instance, Service};
use super::text::{Meaning, Segment, health, segment};
use crate::model::outcome::Health;

/// A service's health, with what people distinguish within it; the worst comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Status {
    /// No instance is healthy, one is unhealthy and not drained.
    Down,
    /// Usable, but an instance fails.
    Degraded,
    /// Healthy, but slower than the user's file allows; only a row has this status.
    Slow,
    /// All that could serve is drained, whether it would pass or fail.
    Drained,
    /// Not proved.
    Unknown,
    /// Not checked, on purpose.
    NotChecked,
    /// Healthy.
    Healthy,
}

impl Status {
    /// The status of a service.
    pub fn of(service: &Service) -> Self {
        match service.health {
            Health::Unhealthy if service.is_faulty() => Self::Down,
            _ if service.is_faulty() => Self::Degraded,
            _ if service.is_drained() => Self::Drained,
            Health::Unknown if service.is_unchecked() => Self::NotChecked,
            // What fails is drained, and the rest is not proved.
            Health::Unknown | Health::Unhealthy => Self::Unknown,
            Health::Healthy => Self::Healthy,
        }
    }

    /// The glyph alone.
    pub fn glyph(self, ascii: bool) -> char {
        self.label(ascii).text.chars().next().unwrap_or(' ')
    }

    /// Whether something fails.
    pub fn is_fault(self) -> bool {
        matches!(self, Self::Down | Self::Degraded)
    }

    /// Glyph and name.
    pub fn label(self, ascii: bool) -> Segment {
        match self {
            Self::Down => segment(if ascii { "x down" } else { "✖ down" }, Meaning::Bad),
            Self::Degraded => segment(if ascii { "! degraded" } else { "▲ degraded" }, Meaning::Warn),
            Self::Slow => segment(if ascii { "~ slow" } else { "◔ slow" }, Meaning::Slow),
            Self::Drained => segment(if ascii { "o drained" } else { "◌ drained" }, Meaning::Warn),
            Self::Unknown => segment(if ascii { "? unknown" } else { "○ unknown" }, Meaning::Faint),
            Self::NotChecked => segment(if ascii { "- no check" } else { "– no check" }, Meaning::Faint),
            Self::Healthy => segment(if ascii { "+ healthy" } else { "● healthy" }, Meaning::Good),
        }
    }
}

/// Glyph and name of an instance's state: its health, unless it is drained or not checked on purpose.
pub fn instance(of: &Instance, ascii: bool) -> Segment {
    if of.is_drained() {
        return Status::Drained.label(ascii);
    }
    if of.is_unchecked() {
        return Status::NotChecked.label(ascii);
    }
    health(of.health, ascii)
}
/// What an entry of history says that became of the instance. `to` alone would not do: a drain and an acknowledgement leave the health.
pub fn became(past: &HistoryEntry, ascii: bool) -> Segment {
    let faint = |word: &str| segment(word, Meaning::Faint);
    match (&*past.event, past.to) {
        ("acknowledged", _) => faint("acknowledged"),
        ("unacknowledged", _) => faint("ack ended"),
        ("drained", _) => Status::Drained.label(ascii),
        ("undrained", _) => faint("drain ended"),
        (_, Some(to)) => health(to, ascii),
        (_, None) => faint("removed"),
    }
}
