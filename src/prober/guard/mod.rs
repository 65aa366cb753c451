//! The mass-failure guard. When most targets seem to have failed at once, this machine itself may be at fault, and no healthy
//! instance is reported unhealthy before other targets have been probed. Pure: the caller supplies the time. A target is *lost* if its probe
//! did not reach it.
//!
//! - In: every probe that ended, and every *fall* (a change from healthy to unhealthy) before it happens.
//! - Out: whether a fall is held, which *canaries* to probe at once, and which held falls to release.
//!
//! Read the files in this order: `state` (the guard's phases), `sample` (recent probes, and how they are counted), `round` (one round of canaries), `driver` (when
//! the guard is judged next). `simulation`, `scenarios` and `capacity` test it in simulated outages.
//!
//! Only failures that [could be ours](Reason::could_be_ours) (resolve, timeout, unreachable) count; a refusal, a reset, a bad certificate
//! or status proves that the peer was reached. For each fall the guard asks: since this instance began to fail, was most of the rest
//! reached?
//!
//! - The *sample* answers that without extra probes: the latest scheduled probe of each target that was healthy before, ended since the
//!   fall's first fail, at most [`MAX_SAMPLE`] per namespace. Confirming probes are left out, since a failing target is probed at its retry
//!   interval and would count several times. An address has the same weight however many targets it has, so one dead host with many
//!   services is one loss.
//! - With fewer than [`MIN_TARGETS`] targets or [`MIN_LOCATIONS`] addresses, the sample proves nothing. Then, or when more than half of it is
//!   lost, *canaries* are probed at once: the targets on other addresses that were reached most recently, one per address. Falls wait
//!   meanwhile. If there are fewer than [`FEW_CANARIES`], lost targets are added, so that a handful of targets next door cannot vouch for
//!   all. As soon as half of the canaries are reached, the falls happen. (A pass takes milliseconds, so a real failure is reported about as
//!   soon as without the guard, even if few targets are probed.)
//! - If most canaries are lost, falls are *held*, for at most [`MAX_HOLD`]. Canaries are probed again every [`RECHECK`]; the hold also ends
//!   as soon as the sample of the last [`WINDOW`] recovers. Held instances are then probed again, in batches, and fall if they fail again;
//!   a probe that started before the recovery proves nothing. A hold that reaches its limit is not repeated for [`BLIND`]: the outage is
//!   real enough to be shown, even by fails that no slot is left to repeat.
//! - Canaries take at most an eighth of the slots, or four ([`Guard::within`]): if everything hangs, each holds one for its timeout.
//! - With four namespaces or more, each counts for at most a quarter, in the sample and among the canaries, so nobody can stage a mass
//!   failure alone. With fewer, the plain majority decides.
//!
//! # How to drive it
//! The task that owns all check states calls, for every probe that ended:
//! 1. [`Guard::observe`], whatever the outcome;
//! 2. `health::step`, and if [`Step::is_fall`](crate::model::health::Step::is_fall), [`Guard::holds`]: if so, `Step::withheld`;
//! 3. [`Guard::canaries`], and probes each of these at once, ahead of everything else (joining a running probe), `scheduled: false`;
//!
//! and whenever [`Guard::due`] has come (every 100 ms while it is `Some`): [`Guard::judge`], [`Guard::canaries`], and
//! [`Guard::release_batch`], handling each [`Release`]. For an instance that is removed or changed it calls [`Guard::forget`]; unknown ids
//! are ignored.
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
pub(crate) use self::state::{Guard, most_canaries};
use crate::model::outcome::{Outcome, Reason, Verdict};
use crate::model::service::CheckId;
use crate::model::time::UnixMs;

/// Age of the sample that can end a hold.
pub(crate) const WINDOW: Duration = Duration::from_secs(3);
/// Most targets of one namespace in the sample, the latest ones; fewer if there are more than four namespaces.
pub(crate) const MAX_SAMPLE: usize = 256;
/// Fewest targets that make a sample.
pub(crate) const MIN_TARGETS: usize = 8;
/// Fewest addresses that make a sample.
pub(crate) const MIN_LOCATIONS: usize = 4;
/// Most canaries if the sample is mostly lost.
pub(crate) const MAX_CANARIES: usize = 64;
/// Most canaries if the sample proves nothing; fewer are filled up with lost targets.
pub(crate) const FEW_CANARIES: usize = 16;
/// Fewest canaries that decide.
pub(crate) const MIN_CANARIES: usize = 3;
/// Timeout of a canary round; no answer is a loss.
pub(crate) const ROUND: Duration = Duration::from_secs(6);
/// Time between canary rounds while falls are held.
pub(crate) const RECHECK: Duration = Duration::from_secs(5);
/// Longest time that falls are held, canaries' answers included.
pub(crate) const MAX_HOLD: Duration = Duration::from_mins(1);
/// Time after a hold that reached its limit in which nothing is held.
pub(crate) const BLIND: Duration = Duration::from_mins(5);
/// How long a passed canary round covers instances that began to fail before it.
pub(crate) const ACQUITTAL: Duration = Duration::from_secs(10);
/// Most releases at a time.
pub(crate) const BATCH: usize = 256;
/// Time between batches.
pub(crate) const BATCH_PAUSE: Duration = Duration::from_millis(100);
/// Most instances held.
const MAX_HELD: usize = 100_000;

/// What a probe shows about the path to its target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    /// The peer was reached, whatever it answered.
    Reached,
    /// It was not reached, and that could be our fault.
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
    pub(crate) check: CheckId,
    pub(crate) namespace: &'a str,
    /// The address dialled; without one, the guard takes the last one it knows.
    pub(crate) address: Option<IpAddr>,
    /// Whether it was shown healthy before.
    pub(crate) was_healthy: bool,
    /// Whether it was a regular probe: not to confirm, on demand, or for the guard.
    pub(crate) scheduled: bool,
    pub(crate) reach: Reach,
    /// When it ended, steady clock.
    pub(crate) at: UnixMs,
}

/// One instance about to go from healthy to unhealthy.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fall<'a> {
    pub(crate) check: CheckId,
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
    /// They do not wait.
    Clear,
    /// They wait for canaries, at most [`ROUND`]; not reported.
    Asking { since: UnixMs },
    /// Most targets are lost, canaries too: shown in readiness, a metric and an event.
    Holding {
        since: UnixMs,
        /// The latest moment at which it ends.
        until: UnixMs,
    },
}

/// How to release an instance whose fall was held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Release {
    /// Its fails count: `health::step` with `Event::Release` and its last outcome, without asking the guard again.
    Commit(CheckId),
    /// They are outdated: probe it at once.
    Probe(CheckId),
    /// The hold reached its limit while others were still lost: probe it at once if possible, else its fails count.
    Confirm(CheckId),
}
