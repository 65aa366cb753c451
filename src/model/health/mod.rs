//! The health state machine: pure, synchronous, told the time.
//!
//! [`step()`] takes what an instance's check has shown so far and one [`Event`], and says what it adds up to:
//!
//! - *First outcome.* A pass makes an unknown instance healthy at once; a fail has to be confirmed.
//! - *Fast confirmation.* While outcomes contradict what is shown, the next probe comes after the retry interval, until the threshold of
//!   consecutive ones is reached or one outcome clears it.
//! - *Flap damping.* The change that would be the fifth between healthy and unhealthy within 10 minutes holds the instance unhealthy,
//!   reason `Flapping`, until at least 2 consecutive passes (or the healthy threshold, if larger) span at least 60 s. Entering and leaving
//!   the hold are transitions that people see (entering may lead from unhealthy to unhealthy), but do not count as flaps.
//! - *Inconclusive* outcomes never count. Without a conclusive one for [`CheckState::unproven_at`] the instance becomes unknown, `Unproven`,
//!   and its next outcome counts like a first one. A hold outlasts silence: it is not green, and silence proves no stability; the passes
//!   that end it have to follow each other without such a gap. Flaps are remembered through `Unproven`.
//! - A check that *cannot run* as it is set up ([`Reason::bars_check`](super::outcome::Reason::bars_check)) is inconclusive too, and says so:
//!   an unknown instance has that reason at once, and one that becomes unknown has it in the place of `Unproven`.
//! - *On demand*, one outcome overrides the thresholds, but never a hold.
//! - While unhealthy, another reason is shown once it was seen `unhealthy_threshold` times in a row: [`Step::reason_changed`], no transition.
//! - The mass-failure guard may keep a flip back ([`Step::withheld`]) and let it happen later ([`Event::Release`]).

mod message;
mod state;
mod step;
#[cfg(test)]
mod tests;

use std::time::Duration;

pub use state::{CheckState, Streak, StreakProgress};
pub use step::step;

use super::outcome::{Health, Outcome, Transition};

/// More changes between healthy and unhealthy than this within [`FLAP_WINDOW`] are flapping.
pub const MAX_FLAPS: usize = 4;
/// The time over which flaps are counted.
pub const FLAP_WINDOW: Duration = Duration::from_mins(10);
/// Consecutive passes must span this long to end a flap hold.
pub const STEADY_SPAN: Duration = Duration::from_mins(1);
/// Fewest consecutive passes that end a flap hold.
pub const STEADY_PASSES: u32 = 2;
/// Least time without a conclusive outcome that makes an instance unknown.
pub const MIN_ALLOWANCE: Duration = Duration::from_mins(1);

/// Why an instance that is held for flapping stays unhealthy, as a sentence.
pub const FLAP_HOLD: &str = "it flaps: it stays unhealthy until it has passed for 60 s without a fail";

/// Something that may move an instance's health.
#[derive(Debug, Clone, Copy)]
pub enum Event<'a> {
    /// A scheduled or confirming probe ended.
    Probe(&'a Outcome),
    /// A probe made on request ended; joined probes count as this.
    OnDemand(&'a Outcome),
    /// Time went by; lets `Unproven` happen though no probe ended.
    Silence,
    /// The mass-failure guard lets a withheld flip happen. The outcome is the instance's latest fail, counted before and not again;
    /// nothing happens unless the fails that confirm it still stand.
    Release(&'a Outcome),
}

/// When the next probe is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// At the instance's fixed-rate phase.
    Scheduled,
    /// After the retry interval, to confirm or to clear.
    Confirm,
}

/// What one event did.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// The state after it.
    pub state: CheckState,
    /// A change that people see, with its evidence.
    pub transition: Option<Transition>,
    /// The reason shown changed while the health stayed: worth a revision, no transition. Never together with one.
    pub reason_changed: bool,
    /// When to probe next.
    pub next: Next,
}

impl Step {
    /// Whether this is what the mass-failure guard may keep back: healthy to unhealthy.
    pub fn is_fall(&self) -> bool {
        self.transition.as_ref().is_some_and(|t| t.from == Health::Healthy && t.to == Health::Unhealthy)
    }

    /// This step with its fall kept back: health, reason, flaps and hold stay as `before`, the streak and the times move on. The next
    /// fail, or [`Event::Release`], brings the fall again; a pass clears it. A step that [is no fall](Self::is_fall) stays as it is.
    #[must_use]
    pub fn withheld(self, before: &CheckState) -> Self {
        if !self.is_fall() {
            return self;
        }
        Self { state: self.state.showing_as(before), transition: None, reason_changed: false, next: Next::Scheduled }
    }
}
