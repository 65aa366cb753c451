//! When probes are due: a fixed rate, each instance at its own phase, on the steady clock.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use uuid::Uuid;

use crate::model::name::InstanceName;
use crate::model::service::InstanceId;
use crate::model::time::UnixMs;

/// A storm of new or overdue instances is probed within this time.
pub(crate) const STORM_SPAN: Duration = Duration::from_secs(1);
/// Smallest rate at which a storm is worked off, per millisecond; so that a few do not wait at all.
const STORM_PER_MS: u64 = 2;
/// Entries that may be outdated before the heap is cleaned.
const SLACK: usize = 1024;

fn millis(span: Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX).max(1)
}

/// An instance's place within its interval, in milliseconds; the same after a restart, since it hangs on what it is called.
pub(crate) fn phase(service: &Uuid, instance: &InstanceName, interval: Duration) -> i64 {
    let mut hasher = DefaultHasher::new();
    (service, instance).hash(&mut hasher);
    let within = hasher.finish() % millis(interval).unsigned_abs();
    i64::try_from(within).unwrap_or(0)
}

/// The first moment of the fixed rate that is later than `after`: what was missed stays missed.
pub(crate) fn next_slot(phase: i64, interval: Duration, after: UnixMs) -> UnixMs {
    let interval = millis(interval);
    let since_last = after.0.wrapping_sub(phase).rem_euclid(interval);
    UnixMs(after.0.saturating_add(interval - since_last))
}

/// How long the one at `place` of `count` that are due at once waits.
pub(crate) fn spread(place: usize, count: usize) -> Duration {
    let (place, count) = (place as u64, count.max(1) as u64);
    let span = millis(STORM_SPAN).unsigned_abs().min(count / STORM_PER_MS);
    Duration::from_millis(place * span / count)
}

/// Due moments, earliest first. An entry stays until it is popped; who pops it asks the owner whether it still stands.
#[derive(Debug, Default)]
pub(crate) struct Schedule {
    heap: BinaryHeap<Reverse<(UnixMs, InstanceId)>>,
}

impl Schedule {
    /// Adds a moment.
    pub(crate) fn push(&mut self, due: UnixMs, instance: InstanceId) {
        self.heap.push(Reverse((due, instance)));
    }

    /// The earliest entry, if it is due at `now`.
    pub(crate) fn pop_due(&mut self, now: UnixMs) -> Option<(UnixMs, InstanceId)> {
        let Reverse((due, _)) = *self.heap.peek()?;
        if due > now {
            return None;
        }
        self.heap.pop().map(|Reverse(entry)| entry)
    }

    /// The earliest moment, outdated or not.
    pub(crate) fn next(&self) -> Option<UnixMs> {
        self.heap.peek().map(|Reverse((due, _))| *due)
    }

    /// Drops outdated entries once there are more of them than of the `live` ones, so that memory stays bounded.
    pub(crate) fn tidy(&mut self, live: usize, stands: impl Fn(UnixMs, InstanceId) -> bool) {
        if self.heap.len() <= 2 * live + SLACK {
            return;
        }
        let mut entries = std::mem::take(&mut self.heap).into_vec();
        entries.retain(|Reverse((due, instance))| stands(*due, *instance));
        entries.sort_unstable();
        entries.dedup();
        self.heap = entries.into();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEN: Duration = Duration::from_secs(10);

    #[test]
    fn slots_keep_their_rate_and_skip_what_was_missed() {
        let first = next_slot(1234, TEN, UnixMs(1_000_000));
        assert_eq!(first, UnixMs(1_001_234));
        assert_eq!(next_slot(1234, TEN, first), UnixMs(1_011_234));
        assert_eq!(next_slot(1234, TEN, UnixMs(1_058_000)), UnixMs(1_061_234), "no burst for five missed ones");
        assert_eq!(next_slot(0, TEN, UnixMs(-1)), UnixMs(0));
    }

    #[test]
    fn phases_spread_over_the_interval() {
        let name = InstanceName::default();
        let mut buckets = [0_u32; 10];
        for n in 0..10_000_u128 {
            let phase = phase(&Uuid::from_u128(n), &name, TEN);
            buckets[usize::try_from(phase / 1000).expect("in range")] += 1;
        }
        assert!(buckets.iter().all(|n| (850..1150).contains(n)), "{buckets:?}");
    }

    #[test]
    fn a_storm_takes_a_second_and_a_few_take_none() {
        assert_eq!(spread(0, 1), Duration::ZERO);
        assert!(spread(9, 10) < Duration::from_millis(5));
        assert_eq!(spread(5_000, 10_000), Duration::from_millis(500));
        assert!(spread(9_999, 10_000) < STORM_SPAN);
    }

    #[test]
    fn outdated_entries_do_not_pile_up() {
        let mut schedule = Schedule::default();
        for n in 0..5_000 {
            schedule.push(UnixMs(n), InstanceId(1));
            schedule.tidy(1, |due, _| due == UnixMs(n));
        }
        let entries: Vec<_> = std::iter::from_fn(|| schedule.pop_due(UnixMs(4_999))).collect();
        assert!(entries.len() <= SLACK + 3, "{}", entries.len());
        assert!(entries.is_sorted() && entries.last() == Some(&(UnixMs(4_999), InstanceId(1))));
    }
}
