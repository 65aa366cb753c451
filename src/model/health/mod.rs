//! The health state machine: pure and synchronous; the caller supplies the time.
//!
//! - In: an instance's [`CheckState`] so far, its timing, and one [`Event`].
//! - Out: a [`Step`]: the next state, the transition that people see, if any, and when to probe next.
//!
//! Read the files in this order: `state` (the state and what counts), `step` (the rules), `message` (the sentences), `fold` (what several checks add up to).
//!
//! The rules of [`step()`]:
//!
//! - *First outcome.* A pass makes an unknown instance healthy at once; a fail has to be confirmed.
//! - *Fast confirmation.* While outcomes contradict the health shown, the next probe comes after the retry interval, until enough
//!   consecutive outcomes agree or one outcome clears them.
//! - *Flap damping.* The change that would be the fifth between healthy and unhealthy within 10 minutes holds the instance unhealthy,
//!   reason `Flapping`, until at least 2 consecutive passes (or the healthy threshold, if larger) span at least 60 s. Entering and leaving
//!   the hold are transitions that people see (entering may lead from unhealthy to unhealthy), but do not count as flaps.
//! - *Inconclusive* outcomes never count. Without a conclusive one for [`CheckState::unproven_at`] the instance becomes unknown, `Unproven`,
//!   and its next outcome counts like a first one. A hold outlasts silence, which proves no stability; the passes that end it
//!   must follow each other without such a gap. Flaps are remembered through `Unproven`.
//! - A check that *cannot run* as it is set up ([`Reason::bars_check`](super::outcome::Reason::bars_check)) is inconclusive too, but
//!   shown: an unknown instance gets that reason at once, and one that becomes unknown gets it instead of `Unproven`.
//! - A lease that *expired* makes its instance unhealthy at once: that nothing was heard for so long needs no confirmation.
//! - *On demand*, one outcome overrides the thresholds, but never a hold.
//! - While unhealthy, another reason is shown once it occurred `unhealthy_threshold` times in a row: [`Step::reason_changed`], no transition.
//! - The mass-failure guard may withhold a flip ([`Step::withheld`]) and let it happen later ([`Event::Release`]).

mod fold;
mod message;
mod state;
mod step;
#[cfg(test)]
mod tests;

use std::time::Duration;

pub use fold::{CheckView, Decision, fold};
pub use state::{CheckState, Streak, StreakProgress};
pub use step::step;

use super::outcome::{Health, Outcome, Transition};

/// More changes between healthy and unhealthy than this within [`FLAP_WINDOW`] are flapping.
pub const MAX_FLAPS: usize = 4;
/// The time over which flaps are counted.
pub const FLAP_WINDOW: Duration = Duration::from_mins(10);
/// Consecutive passes must span this long to end a hold for flapping.
pub const STEADY_SPAN: Duration = Duration::from_mins(1);
/// Fewest consecutive passes that end a hold for flapping.
pub const STEADY_PASSES: u32 = 2;
/// Least time without a conclusive outcome that makes an instance unknown.
pub const MIN_ALLOWANCE: Duration = Duration::from_mins(1);

/// Why an instance that is held for flapping stays unhealthy, as a sentence.
pub const FLAP_HOLD: &str = "it flaps: it stays unhealthy until it has passed for 60 s without a fail";

/// Something that may change an instance's health.
#[derive(Debug, Clone, Copy)]
pub enum Event<'a> {
    /// A scheduled or confirming probe ended.
    Probe(&'a Outcome),
    /// A probe made on request ended; joined probes count as this.
    OnDemand(&'a Outcome),
    /// A lease expired: an outcome that fails, and that is final, whatever the thresholds; a hold stays.
    Expired(&'a Outcome),
    /// Time has passed; lets `Unproven` happen although no probe ended.
    Silence,
    /// The mass-failure guard lets a withheld flip happen. The outcome is the instance's latest fail, counted before and not again;
    /// nothing happens unless the fails that confirm it still stand.
    Release(&'a Outcome),
}

/// When the next probe is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// At the instance's regular time.
    Scheduled,
    /// After the retry interval, to confirm or to clear.
    Confirm,
}

/// The effect of one event.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// The state after it.
    pub state: CheckState,
    /// A change that people see, with its evidence.
    pub transition: Option<Transition>,
    /// The reason shown changed while the health stayed: a new revision, but not a transition. Never together with one.
    pub reason_changed: bool,
    /// When to probe next.
    pub next: Next,
}

impl Step {
    /// Whether this is a fall, healthy to unhealthy, which the mass-failure guard may withhold.
    pub fn is_fall(&self) -> bool {
        self.transition.as_ref().is_some_and(|t| t.from == Health::Healthy && t.to == Health::Unhealthy)
    }

    /// This step without its fall: health, reason, flaps and hold stay as `before`, the streak and the times advance. The next fail, or
    /// [`Event::Release`], repeats the fall; a pass clears it. A step that is not [a fall](Self::is_fall) is returned unchanged.
    #[must_use]
    pub fn withheld(self, before: &CheckState) -> Self {
        if !self.is_fall() {
            return self;
        }
        Self { state: self.state.showing_as(before), transition: None, reason_changed: false, next: Next::Scheduled }
    }
}
