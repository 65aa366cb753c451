//! The guard itself: its phases, and the changes to unhealthy that it holds.

use std::collections::{BTreeMap, HashSet};
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;

use super::round::{Round, add_lost};
use super::sample::{Entry, Location, Sample};
use super::{
    ACQUITTAL, BATCH, BATCH_PAUSE, BLIND, FEW_CANARIES, Fall, GuardState, MAX_CANARIES, MAX_HELD, MAX_HOLD,
    MIN_CANARIES, Observation, RECHECK, Reach, Release, WINDOW,
};
use crate::model::service::CheckId;
use crate::model::time::UnixMs;

/// How a held fall is released.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ReleaseKind {
    Commit,
    Probe,
    Confirm,
}

#[derive(Debug)]
enum Phase {
    Clear,
    Asking { since: UnixMs, round: Round },
    Holding { since: UnixMs, convicted: UnixMs, round: Round },
}

/// The guard; see the module's documentation for how it is driven.
#[derive(Debug)]
pub(crate) struct Guard {
    hasher: RandomState,
    pub(super) sample: Sample,
    phase: Phase,
    /// Canaries that the caller has not taken yet.
    canaries: Vec<CheckId>,
    held: BTreeMap<CheckId, ReleaseKind>,
    acquitted: Option<UnixMs>,
    /// When the last hold ended because other targets were reached again.
    recovered: UnixMs,
    blind_until: UnixMs,
    next_batch: UnixMs,
    /// Most canaries at once.
    most_canaries: usize,
}

impl Default for Guard {
    fn default() -> Self {
        Self {
            hasher: RandomState::new(),
            sample: Sample::default(),
            phase: Phase::Clear,
            canaries: Vec::new(),
            held: BTreeMap::new(),
            acquitted: None,
            recovered: UnixMs(i64::MIN),
            blind_until: UnixMs(i64::MIN),
            next_batch: UnixMs(i64::MIN),
            most_canaries: MAX_CANARIES,
        }
    }
}

/// How many of these slots canaries may take: an eighth, within bounds.
pub(crate) fn most_canaries(slots: usize) -> usize {
    (slots / 8).clamp(MIN_CANARIES + 1, MAX_CANARIES)
}

impl Guard {
    /// For a prober with this many slots.
    pub(crate) fn within(slots: usize) -> Self {
        Self { most_canaries: most_canaries(slots), ..Self::default() }
    }

    /// Notes a probe that ended.
    pub(crate) fn observe(&mut self, observation: &Observation<'_>) {
        let ns = self.hasher.hash_one(observation.namespace);
        let entry = Entry {
            check: observation.check,
            ns,
            location: self.location(ns, observation.check, observation.address),
            lost: observation.reach == Reach::Lost,
            at: observation.at,
        };
        if let Phase::Asking { round, .. } | Phase::Holding { round, .. } = &mut self.phase {
            round.answer(observation.check, observation.reach == Reach::Reached);
        }
        match observation.reach {
            Reach::Nothing => return,
            Reach::Reached => drop(self.held.remove(&observation.check)),
            Reach::Lost => {}
        }
        self.sample.note(entry, observation.scheduled && observation.was_healthy);
    }

    /// Whether this fall is held. May start a canary round: call [`Guard::canaries`] afterwards. A held fall comes back from
    /// [`Guard::release_batch`], unless the instance was reached meanwhile.
    pub(crate) fn holds(&mut self, fall: &Fall<'_>, now: UnixMs) -> bool {
        if !fall.reason.could_be_ours() || now < self.blind_until || self.held.len() >= MAX_HELD {
            return false;
        }
        if fall.started < self.recovered {
            self.held.insert(fall.check, ReleaseKind::Probe);
            return true;
        }
        if matches!(self.phase, Phase::Clear) && !self.suspects(fall, now) {
            return false;
        }
        self.held.insert(fall.check, ReleaseKind::Commit);
        true
    }

    /// Moves on to the phase that time and answers have decided, and returns it.
    pub(crate) fn judge(&mut self, now: UnixMs) -> GuardState {
        match &self.phase {
            Phase::Clear => {}
            Phase::Asking { since, round } => match round.verdict(now) {
                Some(true) => self.convict(*since, now),
                Some(false) => self.acquit(now),
                None => {}
            },
            Phase::Holding { since, .. } if now.since(*since) >= MAX_HOLD => {
                self.blind_until = now.plus(BLIND);
                self.release_all(ReleaseKind::Confirm);
            }
            Phase::Holding { convicted, round, .. } => {
                let from = (*convicted).max(now.minus(WINDOW));
                let sample = self.sample.losses_since(from);
                if sample.is_enough() && !sample.mostly_lost() || round.verdict(now) == Some(false) {
                    self.release_all(ReleaseKind::Probe);
                    self.acquitted = Some(now);
                    self.recovered = now;
                } else if now.since(round.at) >= RECHECK {
                    self.probe_again(now);
                }
            }
        }
        self.state()
    }

    /// Whether falls wait, as last judged.
    pub(crate) fn state(&self) -> GuardState {
        match self.phase {
            Phase::Clear => GuardState::Clear,
            Phase::Asking { since, .. } => GuardState::Asking { since },
            Phase::Holding { since, .. } => GuardState::Holding { since, until: since.plus(MAX_HOLD) },
        }
    }

    /// Takes the canaries to probe at once; each is returned once.
    pub(crate) fn canaries(&mut self) -> Vec<CheckId> {
        std::mem::take(&mut self.canaries)
    }

    /// Held falls to release now, at most [`BATCH`] every [`BATCH_PAUSE`]; empty while falls wait.
    pub(crate) fn release_batch(&mut self, now: UnixMs) -> Vec<Release> {
        if !matches!(self.phase, Phase::Clear) || self.held.is_empty() || now < self.next_batch {
            return Vec::new();
        }
        self.next_batch = now.plus(BATCH_PAUSE);
        let batch = std::iter::from_fn(|| self.held.pop_first()).take(BATCH);
        batch
            .map(|(check, kind)| match kind {
                ReleaseKind::Commit => Release::Commit(check),
                ReleaseKind::Probe => Release::Probe(check),
                ReleaseKind::Confirm => Release::Confirm(check),
            })
            .collect()
    }

    /// When [`Guard::judge`] and [`Guard::release_batch`] should be called next, steady clock; none while there is nothing to do.
    pub(crate) fn due(&self, now: UnixMs) -> Option<UnixMs> {
        match self.phase {
            Phase::Clear if self.held.is_empty() => None,
            Phase::Clear => Some(self.next_batch.max(now)),
            Phase::Asking { .. } | Phase::Holding { .. } => Some(now.plus(BATCH_PAUSE)),
        }
    }

    /// How many falls are held or waiting to be released.
    pub(crate) fn held(&self) -> usize {
        self.held.len()
    }

    /// Whether this instance's fall is held or waits to be released.
    pub(crate) fn keeps_back(&self, check: CheckId) -> bool {
        self.held.contains_key(&check)
    }

    /// Forgets an instance that is gone or has another address now. A canary that is forgotten before it answers is a loss.
    pub(crate) fn forget(&mut self, check: CheckId, namespace: &str) {
        self.held.remove(&check);
        self.canaries.retain(|canary| *canary != check);
        self.sample.forget(self.hasher.hash_one(namespace), check);
    }

    fn location(&self, ns: u64, check: CheckId, address: Option<IpAddr>) -> Location {
        match address {
            Some(address) => Location::Address(address),
            None => self.sample.last_location(ns, check).unwrap_or(Location::Unresolved(check)),
        }
    }

    /// Whether the fall is one of too many, or too little is known; then a canary round starts.
    fn suspects(&mut self, fall: &Fall<'_>, now: UnixMs) -> bool {
        if self.acquitted.is_some_and(|at| at >= fall.failing_since && now.since(at) <= ACQUITTAL) {
            return false;
        }
        let sample = self.sample.losses_since(fall.failing_since);
        let lost = sample.mostly_lost();
        if sample.is_enough() && !lost {
            return false;
        }
        let most = if sample.is_enough() { MAX_CANARIES } else { FEW_CANARIES }.min(self.most_canaries);
        let own = self.location(self.hasher.hash_one(fall.namespace), fall.check, fall.address);
        let losses = self.sample.lost(fall.failing_since, own);
        let mut excluded: HashSet<Location> = losses.iter().map(|e| e.location).collect();
        excluded.insert(own);
        let mut canaries = self.sample.reached(UnixMs(i64::MIN), &excluded, most);
        add_lost(&mut canaries, losses, self.most_canaries);
        if canaries.len() < MIN_CANARIES {
            return false;
        }
        let round = self.round(canaries, now);
        self.phase = Phase::Asking { since: now, round };
        true
    }

    fn round(&mut self, canaries: Vec<Entry>, now: UnixMs) -> Round {
        self.canaries = canaries.iter().map(|entry| entry.check).collect();
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
        self.canaries.clear();
    }

    fn release_all(&mut self, kind: ReleaseKind) {
        self.phase = Phase::Clear;
        self.canaries.clear();
        self.held.values_mut().for_each(|held| *held = kind);
    }

    /// Another round, of targets that were reached since, filled up with the canaries of the last round.
    fn probe_again(&mut self, now: UnixMs) {
        let Phase::Holding { since, convicted, ref round } = self.phase else { return };
        let before = round.canaries.iter().map(|(entry, _)| *entry).collect();
        let mut canaries = self.sample.reached(convicted, &HashSet::new(), self.most_canaries);
        add_lost(&mut canaries, before, self.most_canaries);
        let round = self.round(canaries, now);
        self.phase = Phase::Holding { since, convicted, round };
    }
}
