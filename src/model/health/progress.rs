//! How far an instance is on the way to its next change of health, for people.

use super::{CheckState, STEADY_PASSES, Streak};
use crate::model::check::Timing;
use crate::model::outcome::Health;

/// Outcomes of one kind in a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreakProgress {
    /// Whether they passed.
    pub passing: bool,
    /// How many.
    pub count: u32,
    /// How many change the health.
    pub of: u32,
}

impl CheckState {
    /// The streak, and how long it has to be to change the health.
    pub fn progress(&self, timing: &Timing) -> StreakProgress {
        let passes = match (self.health(), self.held()) {
            // The first pass is enough.
            (Health::Unknown, _) => 1,
            (_, true) => STEADY_PASSES.max(timing.healthy_threshold),
            (_, false) => timing.healthy_threshold,
        };
        let fails = timing.unhealthy_threshold;
        match self.streak() {
            Streak::None => StreakProgress { passing: self.health() != Health::Unhealthy, count: 0, of: passes },
            Streak::Pass(count) => StreakProgress { passing: true, count, of: passes },
            Streak::Fail(count) => StreakProgress { passing: false, count, of: fails },
        }
    }

    /// Why its health does not follow the outcomes, one sentence; none where it does.
    pub fn hold_reason(&self) -> Option<&'static str> {
        self.held().then_some("it flaps: it stays unhealthy until it has passed for 60 s without a fail")
    }
}
