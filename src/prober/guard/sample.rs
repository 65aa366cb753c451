//! Recent probes, and how they are counted.

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet, VecDeque};
use std::net::IpAddr;

use super::{MAX_SAMPLE, MIN_LOCATIONS, MIN_TARGETS};
use crate::model::service::CheckId;
use crate::model::time::UnixMs;

/// Most observations of each kind per namespace.
const KEPT: usize = 256;
/// Most namespaces; the most recently probed ones are kept.
const MAX_NAMESPACES: usize = 64;
/// Most results in a count, shared by the namespaces.
const MAX_COUNTED: usize = 4 * MAX_SAMPLE;
/// With at least this many namespaces, each counts for at most one part in this many.
const NAMESPACE_SHARE: usize = 4;

/// Where a target is: each location has the same weight.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Location {
    Address(IpAddr),
    /// Never resolved: a location of its own.
    Unresolved(CheckId),
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Entry {
    pub(super) check: CheckId,
    /// The namespace's hash.
    pub(super) ns: u64,
    pub(super) location: Location,
    pub(super) lost: bool,
    pub(super) at: UnixMs,
}

/// One namespace's latest observations, oldest first.
#[derive(Debug, Default)]
struct Ring {
    /// Scheduled probes of what was healthy.
    scheduled: VecDeque<Entry>,
    /// Probes that reached their target, without those of targets lost since.
    reached: VecDeque<Entry>,
    /// The time of the last one.
    at: UnixMs,
}

/// The latest observations, apart by namespace, so that a loud one does not push the others out.
#[derive(Debug, Default)]
pub(super) struct Sample(HashMap<u64, Ring>);

fn push(queue: &mut VecDeque<Entry>, entry: Entry) {
    if queue.len() >= KEPT {
        queue.pop_front();
    }
    queue.push_back(entry);
}

impl Ring {
    /// The latest scheduled probe of each target since then, the latest first. The checks of one instance are one target.
    fn latest(&self, since: UnixMs) -> impl Iterator<Item = &Entry> {
        let mut met = HashSet::new();
        let recent = self.scheduled.iter().rev().take_while(move |e| e.at >= since);
        recent.filter(move |e| met.insert(e.check.instance)).take(MAX_SAMPLE)
    }
}

impl Sample {
    pub(super) fn note(&mut self, entry: Entry, counts: bool) {
        if !self.0.contains_key(&entry.ns) && self.0.len() >= MAX_NAMESPACES {
            let stalest = self.0.iter().min_by_key(|(_, ring)| ring.at).map(|(ns, _)| *ns);
            stalest.map(|ns| self.0.remove(&ns));
        }
        let ring = self.0.entry(entry.ns).or_default();
        ring.at = entry.at;
        if counts {
            push(&mut ring.scheduled, entry);
        }
        if entry.lost {
            ring.reached.retain(|e| e.check != entry.check);
        } else {
            push(&mut ring.reached, entry);
        }
    }

    /// Observations kept.
    #[cfg(test)]
    pub(super) fn kept(&self) -> usize {
        self.0.values().map(|ring| ring.scheduled.len() + ring.reached.len()).sum()
    }

    pub(super) fn forget(&mut self, ns: u64, check: CheckId) {
        if let Some(ring) = self.0.get_mut(&ns) {
            ring.scheduled.retain(|e| e.check != check);
            ring.reached.retain(|e| e.check != check);
        }
    }

    /// Where an instance of the namespace was last.
    pub(super) fn last_location(&self, ns: u64, check: CheckId) -> Option<Location> {
        let ring = self.0.get(&ns)?;
        let known = ring.reached.iter().rev().chain(ring.scheduled.iter().rev());
        known.filter(|e| e.check == check).map(|e| e.location).next()
    }

    fn latest(&self, since: UnixMs) -> impl Iterator<Item = &Entry> {
        let each = MAX_COUNTED / self.0.len().max(1);
        self.0.values().flat_map(move |ring| ring.latest(since).take(each))
    }

    pub(super) fn losses_since(&self, since: UnixMs) -> LossCount {
        count_losses(self.latest(since).map(|e| TargetResult { ns: e.ns, location: e.location, lost: e.lost }))
    }

    /// Targets lost since then, the latest first, one per location, none at `own`.
    pub(super) fn lost(&self, since: UnixMs, own: Location) -> Vec<Entry> {
        let mut lost: Vec<Entry> = self.latest(since).filter(|e| e.lost).copied().collect();
        lost.sort_by_key(|e| Reverse(e.at));
        let mut met = HashSet::from([own]);
        lost.retain(|e| met.insert(e.location));
        lost
    }

    /// Targets reached since then, the latest first, one per location, none at `excluded` ones; a namespace gets more than its share only if
    /// others leave room.
    pub(super) fn reached(&self, since: UnixMs, excluded: &HashSet<Location>, most: usize) -> Vec<Entry> {
        let of_ring =
            |ring: &Ring| ring.reached.iter().rev().take_while(|e| e.at >= since).copied().collect::<Vec<_>>();
        let mut recent: Vec<Entry> = self.0.values().flat_map(of_ring).collect();
        recent.sort_by_key(|e| Reverse(e.at));
        let mut met = HashSet::new();
        let all = recent.into_iter().filter(|e| !excluded.contains(&e.location) && met.insert(e.location));
        let mut of_each: HashMap<u64, usize> = HashMap::new();
        let (mut taken, surplus): (Vec<Entry>, Vec<Entry>) = all.partition(|e| {
            let count = of_each.entry(e.ns).or_default();
            *count += 1;
            *count <= most.div_ceil(NAMESPACE_SHARE)
        });
        taken.truncate(most);
        let room = most - taken.len();
        taken.extend(surplus.into_iter().take(room));
        taken
    }
}

/// What the latest probe of one target showed.
#[derive(Debug, Clone, Copy)]
pub(super) struct TargetResult {
    pub(super) ns: u64,
    pub(super) location: Location,
    pub(super) lost: bool,
}

/// How much of what was probed is lost.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct LossCount {
    pub(super) targets: usize,
    pub(super) locations: usize,
    /// The part that is lost, 0 to 1; an address weighs 1, shared by its targets.
    pub(super) lost: f64,
    /// The same with each namespace cut to its share.
    pub(super) lost_by_share: f64,
}

impl LossCount {
    pub(super) fn is_enough(&self) -> bool {
        self.targets >= MIN_TARGETS && self.locations >= MIN_LOCATIONS
    }

    /// Lost by the plain count, and also if no namespace counts for more than its share.
    pub(super) fn mostly_lost(&self) -> bool {
        const HALF: f64 = 0.5 + 1e-9;
        self.lost > HALF && self.lost_by_share > HALF
    }
}

/// Weight and lost weight.
#[derive(Debug, Clone, Copy, Default)]
struct Weights {
    all: f64,
    lost: f64,
}

pub(super) fn count_losses(results: impl Iterator<Item = TargetResult>) -> LossCount {
    let results: Vec<TargetResult> = results.collect();
    let mut at_location: HashMap<Location, f64> = HashMap::new();
    for result in &results {
        *at_location.entry(result.location).or_default() += 1.0;
    }
    let mut by_namespace: HashMap<u64, Weights> = HashMap::new();
    for result in &results {
        let weight = at_location.get(&result.location).map_or(1.0, |n| n.recip());
        let sum = by_namespace.entry(result.ns).or_default();
        sum.all += weight;
        sum.lost += if result.lost { weight } else { 0.0 };
    }
    let sums: Vec<Weights> = by_namespace.into_values().collect();
    let cap = cap(sums.iter().map(|w| w.all).collect());
    LossCount {
        targets: results.len(),
        locations: at_location.len(),
        lost: part(&sums, f64::INFINITY),
        lost_by_share: part(&sums, cap),
    }
}

/// The lost part, each namespace scaled down to weigh at most `cap`.
fn part(sums: &[Weights], cap: f64) -> f64 {
    let scale = |w: &Weights| if w.all > cap { cap / w.all } else { 1.0 };
    let all: f64 = sums.iter().map(|w| w.all * scale(w)).sum();
    let lost: f64 = sums.iter().map(|w| w.lost * scale(w)).sum();
    if all > 0.0 { lost / all } else { 0.0 }
}

/// The weight that is a namespace's share of the sum once every heavier one is cut down to it; no bound with fewer namespaces than shares.
fn cap(mut weights: Vec<f64>) -> f64 {
    let shares: f64 = 4.0;
    if weights.len() < NAMESPACE_SHARE {
        return f64::INFINITY;
    }
    weights.sort_by(|a, b| b.total_cmp(a));
    let mut rest: f64 = weights.iter().sum();
    let mut cut = 0.0;
    for weight in weights {
        let cap = rest / (shares - cut);
        if weight <= cap {
            return cap;
        }
        rest -= weight;
        cut += 1.0;
    }
    f64::INFINITY
}
