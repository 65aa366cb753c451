//! The mass-failure guard: when most of what is probed seems lost at once, the trouble may be this machine's own, and nothing healthy is
//! called unhealthy for it before others have been asked. Pure, told the time.
//!
//! Only failures that [could be ours](Reason::could_be_ours) (resolve, timeout, unreachable) are looked at; a refusal, a reset, a bad
//! certificate or status proves that the peer was reached. The question asked of each *fall* (healthy to unhealthy) is: since it began to
//! fail, was most of the rest reached?
//!
//! - The *sample* answers it for free: the latest scheduled probe of each target that was healthy before, ended since the fall's first
//!   fail, at most [`MAX_SAMPLE`] of a namespace. Confirming probes are left out: a failing target is probed at its retry
//!   interval, and would count as many as it has. An address weighs the same however many targets it has, so one dead host with many
//!   services is one loss.
//! - With fewer than [`MIN_TARGETS`] targets or [`MIN_PLACES`] addresses the sample says nothing. Then, or when more than half of it is
//!   lost, *canaries* are asked: targets on other addresses that were reached most recently are probed at once, one an address, and falls
//!   wait meanwhile. Where fewer than [`FEW_CANARIES`] such are left, lost ones are asked with them, so that a handful of targets next
//!   door do not vouch for all. As soon as half of the canaries are reached the falls happen. (A pass takes milliseconds, so a real
//!   failure is told about as soon as without the guard, also where few targets are probed.)
//! - Are most canaries lost, falls are *held*, for at most [`MAX_HOLD`]. Canaries are asked again every [`RECHECK`]; the hold also ends as
//!   soon as the sample of the last [`WINDOW`] recovers. Whatever was held is then probed afresh, in batches, and falls if it fails again;
//!   a probe that began before the recovery proves nothing. A hold that runs to its end is not repeated for [`BLIND`]: the outage is real
//!   enough to be shown, also by fails that there is no slot to repeat.
//! - Canaries take at most an eighth of the slots for probes ([`Guard::within`]): where everything hangs, each holds one for its timeout.
//! - Where four namespaces or more are seen, each counts for at most a quarter, in the sample and among the canaries, so nobody stages a
//!   mass failure alone. With fewer namespaces the plain majority decides.
//!
//! # How to drive it
//! The task that owns all check states calls, for every probe that ended:
//! 1. [`Guard::observe`], whatever the outcome;
//! 2. `health::step`, and where [`Step::is_fall`](crate::model::health::Step::is_fall), [`Guard::holds`]: if so, `Step::withheld`;
//! 3. [`Guard::canaries`], and probes each of these at once, ahead of everything else (joining a probe in flight), `scheduled: false`;
//!
//! and whenever [`Guard::due`] has come (each 100 ms will do while it is `Some`): [`Guard::judge`], [`Guard::canaries`], and
//! [`Guard::release_batch`], doing as each [`Release`] says. An instance that is removed or changed is [`Guard::forget`]ten; ids that are no
//! longer known are passed over.
//!
//! Memory: at most 2 × 256 observations (64 B) of each of 64 namespaces, 64 canaries, and 100,000 held instances (40 B); beyond that, falls
//! are not held.

#[cfg(test)]
mod capacity;
mod driver;
mod round;
mod sample;
#[cfg(test)]
mod scenarios;
#[cfg(test)]
mod simulation;
mod state;
#[cfg(test)]
mod tests;

use std::net::IpAddr;
use std::time::Duration;

pub(crate) use self::driver::GuardDriver;
pub(crate) use self::state::Guard;
use crate::model::outcome::{Outcome, Reason, Verdict};
use crate::model::service::InstanceId;
use crate::model::time::UnixMs;

/// How far back the sample reaches that ends a hold.
pub(crate) const WINDOW: Duration = Duration::from_secs(3);
/// Most targets of one namespace in the sample, the latest; fewer where there are more than four namespaces.
pub(crate) const MAX_SAMPLE: usize = 256;
/// Fewest targets that the sample is judged by.
pub(crate) const MIN_TARGETS: usize = 8;
/// Fewest addresses that the sample is judged by.
pub(crate) const MIN_PLACES: usize = 4;
/// Most canaries asked where the sample is mostly lost.
pub(crate) const MAX_CANARIES: usize = 64;
/// Most canaries asked where the sample says nothing; fewer are filled up with lost targets.
pub(crate) const FEW_CANARIES: usize = 16;
/// Fewest canaries whose word is taken.
pub(crate) const MIN_CANARIES: usize = 3;
/// Time that canaries have to answer; no answer is a loss.
pub(crate) const ROUND: Duration = Duration::from_secs(6);
/// Time between canary rounds while falls are held.
pub(crate) const RECHECK: Duration = Duration::from_secs(5);
/// Longest time that falls are held, canaries' answers included.
pub(crate) const MAX_HOLD: Duration = Duration::from_mins(1);
/// Time after a hold that ran to its end in which nothing is held.
pub(crate) const BLIND: Duration = Duration::from_mins(5);
/// How long a canary round's good word stands for what began to fail before it.
pub(crate) const ACQUITTAL: Duration = Duration::from_secs(10);
/// Most releases at a time.
pub(crate) const BATCH: usize = 256;
/// Time between batches.
pub(crate) const BATCH_PAUSE: Duration = Duration::from_millis(100);
/// Most instances held.
const MAX_HELD: usize = 100_000;

/// What a probe shows of the way to its target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    /// The peer was reached, whatever it said.
    Reached,
    /// It was not, and that could be our fault.
    Lost,
    /// Neither: inconclusive, or nothing was dialled.
    Nothing,
}

impl From<&Outcome> for Reach {
    fn from(outcome: &Outcome) -> Self {
        match outcome.verdict {
            Verdict::Pass => Self::Reached,
            Verdict::Fail if outcome.reason.could_be_ours() => Self::Lost,
            Verdict::Fail if outcome.reason != Reason::AddressDenied => Self::Reached,
            Verdict::Fail | Verdict::Inconclusive => Self::Nothing,
        }
    }
}

/// One probe that ended.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Observation<'a> {
    /// Of what.
    pub(crate) instance: InstanceId,
    /// Its namespace.
    pub(crate) namespace: &'a str,
    /// The address dialled; where no name was resolved, the guard takes the one it knows.
    pub(crate) address: Option<IpAddr>,
    /// Whether it was shown healthy before.
    pub(crate) was_healthy: bool,
    /// Whether it came at the instance's fixed-rate phase: not to confirm, on request, or for the guard.
    pub(crate) scheduled: bool,
    /// What it shows.
    pub(crate) reach: Reach,
    /// When it ended, steady clock.
    pub(crate) at: UnixMs,
}

/// One instance about to go from healthy to unhealthy.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fall<'a> {
    /// Which.
    pub(crate) instance: InstanceId,
    /// Its namespace.
    pub(crate) namespace: &'a str,
    /// The address dialled, if any.
    pub(crate) address: Option<IpAddr>,
    /// The last fail's reason.
    pub(crate) reason: Reason,
    /// When its streak of fails began, steady clock (`CheckState::streak_since`).
    pub(crate) failing_since: UnixMs,
    /// When its last probe began, steady clock.
    pub(crate) started: UnixMs,
}

/// Whether falls wait. Times are steady.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum GuardState {
    /// They do not.
    Clear,
    /// For an answer of canaries, at most [`ROUND`]; nothing to tell anybody.
    Asking {
        /// Since when.
        since: UnixMs,
    },
    /// Most of what is probed is lost, canaries too: shown in readiness, a metric and an event.
    Holding {
        /// Since when.
        since: UnixMs,
        /// The latest moment at which it ends.
        until: UnixMs,
    },
}

/// What to do with an instance whose fall was held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Release {
    /// Its fails stand: `health::step` with `Event::Release` and its last outcome, without asking the guard again.
    Commit(InstanceId),
    /// They are old news: probe it at once.
    Probe(InstanceId),
    /// The hold ran to its end while others were still lost: probe it at once where that is possible, else its fails stand.
    Confirm(InstanceId),
}
