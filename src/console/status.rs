//! The status of a service, as rows and totals show it.

use super::data::Service;
use super::text::{Meaning, Segment, segment};
use crate::model::outcome::Health;

/// A service's health, with what people distinguish within it; the worst comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Status {
    /// No instance is healthy, one is unhealthy.
    Down,
    /// Some instance is unhealthy, but not all.
    Degraded,
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
            Health::Unhealthy => Self::Down,
            _ if service.is_faulty() => Self::Degraded,
            Health::Unknown if service.is_unchecked() => Self::NotChecked,
            Health::Unknown => Self::Unknown,
            Health::Healthy => Self::Healthy,
        }
    }

    /// Glyph and name.
    pub fn label(self, ascii: bool) -> Segment {
        match self {
            Self::Down => segment(if ascii { "x down" } else { "✖ down" }, Meaning::Bad),
            Self::Degraded => segment(if ascii { "! degraded" } else { "▲ degraded" }, Meaning::Warn),
            Self::Unknown => segment(if ascii { "? unknown" } else { "○ unknown" }, Meaning::Faint),
            Self::NotChecked => segment(if ascii { "- no check" } else { "– no check" }, Meaning::Faint),
            Self::Healthy => segment(if ascii { "+ healthy" } else { "● healthy" }, Meaning::Good),
        }
    }
}
