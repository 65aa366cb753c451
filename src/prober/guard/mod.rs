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
//!   wait meanwhile. Where fewer than [`FEW_CANARIES`] such are left, lost ones are asked with them, so that a handful of targets next door
//!   do not vouch for all. As soon as half of the canaries are reached the falls happen. (A pass takes milliseconds, so a real failure is told about as
//!   soon as without the guard, also where few targets are probed.)
//! - Are most canaries lost, falls are *held*, for at most [`MAX_HOLD`]. Canaries are asked again every [`RECHECK`]; the hold also ends as
//!   soon as the sample of the last [`WINDOW`] recovers. Whatever was held is then probed afresh, in batches, and falls if it fails again;
//!   a probe that began before the recovery proves nothing. A hold that runs to its end is not repeated for [`BLIND`]: the outage is real
//!   enough to be shown.
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
//! [`Guard::release_batch`], doing as each [`Release`] says. An instance that is removed or changed is [`Guard::forget`]ten.
//!
//! Memory: at most 2 × 256 observations (64 B) of each of 64 namespaces, 64 canaries, and 100,000 held instances (40 B); beyond that, falls
//! are not held.

mod sample;
#[cfg(test)]
mod scenarios;
#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashSet};
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::time::Duration;

use self::sample::{Entry, Place, Sample, Vote, tally};
use crate::model::outcome::{Outcome, Reason, Verdict};
use crate::model::service::InstanceId;
use crate::model::time::UnixMs;

/// How far back the sample reaches that ends a hold.
pub const WINDOW: Duration = Duration::from_secs(3);
/// Most targets of one namespace in the sample, the latest; fewer where there are more than four namespaces.
pub const MAX_SAMPLE: usize = 256;
/// Fewest targets that the sample is judged by.
pub const MIN_TARGETS: usize = 8;
/// Fewest addresses that the sample is judged by.
pub const MIN_PLACES: usize = 4;
/// Most canaries asked where the sample is mostly lost.
pub const MAX_CANARIES: usize = 64;
/// Most canaries asked where the sample says nothing; fewer are filled up with lost targets.
pub const FEW_CANARIES: usize = 16;
/// Fewest canaries whose word is taken.
pub const MIN_CANARIES: usize = 3;
/// Time that canaries have to answer; no answer is a loss.
pub const ROUND: Duration = Duration::from_secs(6);
/// Time between canary rounds while falls are held.
pub const RECHECK: Duration = Duration::from_secs(5);
/// Longest time that falls are held, canaries' answers included.
pub const MAX_HOLD: Duration = Duration::from_mins(1);
/// Time after a hold that ran to its end in which nothing is held.
pub const BLIND: Duration = Duration::from_mins(5);
/// How long a canary round's good word stands for what began to fail before it.
pub const ACQUITTAL: Duration = Duration::from_secs(10);
/// Most releases at a time.
pub const BATCH: usize = 256;
/// Time between batches.
pub const BATCH_PAUSE: Duration = Duration::from_millis(100);
/// Most instances held.
const MAX_HELD: usize = 100_000;

/// What a probe shows of the way to its target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    /// The peer was reached, whatever it said.
    Reached,
    /// It was not, and that could be our fault.
    Lost,
    /// Neither: inconclusive, or nothing was dialled.
    Nothing,
}

impl From<&Outcome> for Seen {
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
pub struct Observation<'a> {
    /// Of what.
    pub instance: InstanceId,
    /// Its namespace.
    pub namespace: &'a str,
    /// The address dialled; where no name was resolved, the guard takes the one it knows.
    pub address: Option<IpAddr>,
    /// Whether it was shown healthy before.
    pub was_healthy: bool,
    /// Whether it came at the instance's fixed-rate phase: not to confirm, on request, or for the guard.
    pub scheduled: bool,
    /// What it shows.
    pub seen: Seen,
    /// When it ended, steady clock.
    pub at: UnixMs,
}

/// One instance about to go from healthy to unhealthy.
#[derive(Debug, Clone, Copy)]
pub struct Fall<'a> {
    /// Which.
    pub instance: InstanceId,
    /// Its namespace.
    pub namespace: &'a str,
    /// The address dialled, if any.
    pub address: Option<IpAddr>,
    /// The last fail's reason.
    pub reason: Reason,
    /// When its streak of fails began, steady clock (`CheckState::streak_since`).
    pub failing_since: UnixMs,
    /// When its last probe began, steady clock.
    pub started: UnixMs,
}

/// Whether falls wait. Times are steady.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GuardState {
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
pub enum Release {
    /// Its fails stand: `health::step` with `Event::Release` and its last outcome.
    Commit(InstanceId),
    /// They are old news: probe it at once.
    Probe(InstanceId),
}

/// How a held fall is let go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum How {
    Commit,
    Probe,
}

#[derive(Debug)]
enum Phase {
    Clear,
    Asking { since: UnixMs, round: Round },
    Holding { since: UnixMs, convicted: UnixMs, round: Round },
}

/// Canaries asked together, and what they answered.
#[derive(Debug)]
struct Round {
    at: UnixMs,
    canaries: Vec<(Entry, Option<bool>)>,
}

impl Round {
    /// `Some(true)`: most are lost; nobody asked says nothing. No answer is a loss once the time is over, and keeps the question open before.
    fn verdict(&self, now: UnixMs) -> Option<bool> {
        let votes =
            self.canaries.iter().map(|(e, answer)| Vote { ns: e.ns, place: e.place, lost: *answer != Some(true) });
        let lost = tally(votes).mostly_lost();
        let over = now.since(self.at) >= ROUND || self.canaries.iter().all(|(_, answer)| answer.is_some());
        (!self.canaries.is_empty() && (!lost || over)).then_some(lost)
    }

    fn answer(&mut self, instance: InstanceId, reached: bool) {
        if let Some((_, answer)) =
            self.canaries.iter_mut().find(|(e, answer)| e.instance == instance && answer.is_none())
        {
            *answer = Some(reached);
        }
    }
}

/// The guard; see the module's documentation for how it is driven.
#[derive(Debug)]
pub struct Guard {
    hasher: RandomState,
    sample: Sample,
    phase: Phase,
    /// Canaries not yet handed out.
    ask: Vec<InstanceId>,
    held: BTreeMap<InstanceId, How>,
    acquitted: Option<UnixMs>,
    /// When the last hold ended because others were reached again.
    recovered: UnixMs,
    blind_until: UnixMs,
    next_batch: UnixMs,
}

impl Default for Guard {
    fn default() -> Self {
        Self {
            hasher: RandomState::new(),
            sample: Sample::default(),
            phase: Phase::Clear,
            ask: Vec::new(),
            held: BTreeMap::new(),
            acquitted: None,
            recovered: UnixMs(i64::MIN),
            blind_until: UnixMs(i64::MIN),
            next_batch: UnixMs(i64::MIN),
        }
    }
}

impl Guard {
    /// Takes in a probe that ended.
    pub fn observe(&mut self, seen: &Observation<'_>) {
        let ns = self.hasher.hash_one(seen.namespace);
        let entry = Entry {
            instance: seen.instance,
            ns,
            place: self.place(ns, seen.instance, seen.address),
            lost: seen.seen == Seen::Lost,
            at: seen.at,
        };
        if let Phase::Asking { round, .. } | Phase::Holding { round, .. } = &mut self.phase {
            round.answer(seen.instance, seen.seen == Seen::Reached);
        }
        match seen.seen {
            Seen::Nothing => return,
            Seen::Reached => drop(self.held.remove(&seen.instance)),
            Seen::Lost => {}
        }
        self.sample.note(entry, seen.scheduled && seen.was_healthy);
    }

    /// Whether this fall has to wait. May begin a canary round: see [`Guard::canaries`] afterwards. A held fall comes back from
    /// [`Guard::release_batch`], unless the instance was reached meanwhile.
    pub fn holds(&mut self, fall: &Fall<'_>, now: UnixMs) -> bool {
        if !fall.reason.could_be_ours() || now < self.blind_until || self.held.len() >= MAX_HELD {
            return false;
        }
        if fall.started < self.recovered {
            self.held.insert(fall.instance, How::Probe);
            return true;
        }
        if matches!(self.phase, Phase::Clear) && !self.suspects(fall, now) {
            return false;
        }
        self.held.insert(fall.instance, How::Commit);
        true
    }

    /// Goes through what time and answers have decided, and says whether falls wait now.
    pub fn judge(&mut self, now: UnixMs) -> GuardState {
        match &self.phase {
            Phase::Clear => {}
            Phase::Asking { since, round } => match round.verdict(now) {
                Some(true) => self.convict(*since, now),
                Some(false) => self.acquit(now),
                None => {}
            },
            Phase::Holding { since, .. } if now.since(*since) >= MAX_HOLD => {
                self.blind_until = now.plus(BLIND);
                self.let_go(How::Probe);
            }
            Phase::Holding { convicted, round, .. } => {
                let from = (*convicted).max(before(now, WINDOW));
                let sample = self.sample.tally(from);
                if sample.is_enough() && !sample.mostly_lost() || round.verdict(now) == Some(false) {
                    self.let_go(How::Probe);
                    self.acquitted = Some(now);
                    self.recovered = now;
                } else if now.since(round.at) >= RECHECK {
                    self.ask_again(now);
                }
            }
        }
        self.state()
    }

    /// Whether falls wait, as last judged.
    pub fn state(&self) -> GuardState {
        match self.phase {
            Phase::Clear => GuardState::Clear,
            Phase::Asking { since, .. } => GuardState::Asking { since },
            Phase::Holding { since, .. } => GuardState::Holding { since, until: since.plus(MAX_HOLD) },
        }
    }

    /// Canaries to probe at once; each is handed out once.
    pub fn canaries(&mut self) -> Vec<InstanceId> {
        std::mem::take(&mut self.ask)
    }

    /// Held falls to let go now, at most [`BATCH`] every [`BATCH_PAUSE`]; empty while falls wait.
    pub fn release_batch(&mut self, now: UnixMs) -> Vec<Release> {
        if !matches!(self.phase, Phase::Clear) || self.held.is_empty() || now < self.next_batch {
            return Vec::new();
        }
        self.next_batch = now.plus(BATCH_PAUSE);
        let batch = std::iter::from_fn(|| self.held.pop_first()).take(BATCH);
        batch
            .map(|(instance, how)| match how {
                How::Commit => Release::Commit(instance),
                How::Probe => Release::Probe(instance),
            })
            .collect()
    }

    /// When [`Guard::judge`] and [`Guard::release_batch`] should be called next, steady clock; none while there is nothing to do.
    pub fn due(&self, now: UnixMs) -> Option<UnixMs> {
        match self.phase {
            Phase::Clear if self.held.is_empty() => None,
            Phase::Clear => Some(self.next_batch.max(now)),
            Phase::Asking { .. } | Phase::Holding { .. } => Some(now.plus(BATCH_PAUSE)),
        }
    }

    /// How many falls are held or waiting to be let go.
    pub fn held(&self) -> usize {
        self.held.len()
    }

    /// Drops what is known of an instance that is gone or has another address now.
    pub fn forget(&mut self, instance: InstanceId) {
        self.held.remove(&instance);
        self.ask.retain(|asked| *asked != instance);
        self.sample.forget(instance);
        if let Phase::Asking { round, .. } | Phase::Holding { round, .. } = &mut self.phase {
            round.canaries.retain(|(entry, _)| entry.instance != instance);
        }
    }

    fn place(&self, ns: u64, instance: InstanceId, address: Option<IpAddr>) -> Place {
        match address {
            Some(address) => Place::Address(address),
            None => self.sample.last_place(ns, instance).unwrap_or(Place::Unresolved(instance)),
        }
    }

    /// Whether the fall is one of too many, or too little is known; then canaries are asked.
    fn suspects(&mut self, fall: &Fall<'_>, now: UnixMs) -> bool {
        if self.acquitted.is_some_and(|at| at >= fall.failing_since && now.since(at) <= ACQUITTAL) {
            return false;
        }
        let sample = self.sample.tally(fall.failing_since);
        let lost = sample.mostly_lost();
        if sample.is_enough() && !lost {
            return false;
        }
        let most = if sample.is_enough() { MAX_CANARIES } else { FEW_CANARIES };
        let own = self.place(self.hasher.hash_one(fall.namespace), fall.instance, fall.address);
        let losses = self.sample.lost(fall.failing_since, own);
        let mut shunned: HashSet<Place> = losses.iter().map(|e| e.place).collect();
        shunned.insert(own);
        let mut canaries = self.sample.reached(UnixMs(i64::MIN), &shunned, most);
        fill(&mut canaries, losses);
        if canaries.len() < MIN_CANARIES {
            return false;
        }
        let round = self.round(canaries, now);
        self.phase = Phase::Asking { since: now, round };
        true
    }

    fn round(&mut self, canaries: Vec<Entry>, now: UnixMs) -> Round {
        self.ask = canaries.iter().map(|entry| entry.instance).collect();
        Round { at: now, canaries: canaries.into_iter().map(|entry| (entry, None)).collect() }
    }

    fn convict(&mut self, since: UnixMs, now: UnixMs) {
        if let Phase::Asking { round, .. } = std::mem::replace(&mut self.phase, Phase::Clear) {
            self.phase = Phase::Holding { since, convicted: now, round };
        }
    }

    fn acquit(&mut self, now: UnixMs) {
        self.acquitted = Some(now);
        self.phase = Phase::Clear;
        self.ask.clear();
    }

    fn let_go(&mut self, how: How) {
        self.phase = Phase::Clear;
        self.ask.clear();
        self.held.values_mut().for_each(|was| *was = how);
    }

    /// Another round: what was reached since, or if that is little, the canaries of before with it.
    fn ask_again(&mut self, now: UnixMs) {
        let Phase::Holding { since, convicted, ref round } = self.phase else { return };
        let before = round.canaries.iter().map(|(entry, _)| *entry).collect();
        let mut canaries = self.sample.reached(convicted, &HashSet::new(), MAX_CANARIES);
        fill(&mut canaries, before);
        let round = self.round(canaries, now);
        self.phase = Phase::Holding { since, convicted, round };
    }
}

/// A few that were reached among many that are lost prove little (they may be next door): lost ones are asked too, until there are
/// [`FEW_CANARIES`].
fn fill(canaries: &mut Vec<Entry>, lost: Vec<Entry>) {
    for entry in lost {
        if canaries.len() < FEW_CANARIES && canaries.iter().all(|c| c.place != entry.place) {
            canaries.push(entry);
        }
    }
}

fn before(at: UnixMs, by: Duration) -> UnixMs {
    UnixMs(at.0.saturating_sub(i64::try_from(by.as_millis()).unwrap_or(i64::MAX)))
}
