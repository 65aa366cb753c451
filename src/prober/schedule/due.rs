//! Due moments, earliest first, and how a storm of them is spread.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use crate::model::service::CheckId;
use crate::model::time::UnixMs;

/// A storm of new or overdue instances is probed within this time.
const STORM_SPAN: Duration = Duration::from_secs(1);
/// Lowest rate at which a storm is probed, per millisecond, so that a few instances do not wait at all.
const STORM_PER_MS: u64 = 2;
/// Outdated entries that may pile up before the heap is cleaned.
const SLACK: usize = 1024;

/// How long the instance at this position among `count` that are due at once waits.
pub(crate) fn spread(position: usize, count: usize) -> Duration {
    let (position, count) = (position as u64, count.max(1) as u64);
    let span = u64::try_from(STORM_SPAN.as_millis()).unwrap_or(u64::MAX).min(count / STORM_PER_MS);
    Duration::from_millis(position * span / count)
}

/// Due moments, earliest first. An entry stays until it is popped, and may be outdated by then: the caller compares it with the instance.
#[derive(Debug, Default)]
pub(crate) struct DueQueue {
    heap: BinaryHeap<Reverse<(UnixMs, CheckId)>>,
}

impl DueQueue {
    pub(crate) fn push(&mut self, due: UnixMs, instance: CheckId) {
        self.heap.push(Reverse((due, instance)));
    }

    /// The earliest entry, if it is due at `now`.
    pub(crate) fn pop_due(&mut self, now: UnixMs) -> Option<(UnixMs, CheckId)> {
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
    pub(crate) fn tidy(&mut self, live: usize, is_current: impl Fn(UnixMs, CheckId) -> bool) {
        if self.heap.len() <= 2 * live + SLACK {
            return;
        }
        let mut entries = std::mem::take(&mut self.heap).into_vec();
        entries.retain(|Reverse((due, instance))| is_current(*due, *instance));
        entries.sort_unstable();
        entries.dedup();
        self.heap = entries.into();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_storm_takes_a_second_and_a_few_take_none() {
        assert_eq!(spread(0, 1), Duration::ZERO);
        assert!(spread(9, 10) < Duration::from_millis(5));
        assert_eq!(spread(5_000, 10_000), Duration::from_millis(500));
        assert!(spread(9_999, 10_000) < STORM_SPAN);
    }

    #[test]
    fn outdated_entries_do_not_pile_up() {
        let mut queue = DueQueue::default();
        for n in 0..5_000 {
            queue.push(UnixMs(n), CheckId::plain(1));
            queue.tidy(1, |due, _| due == UnixMs(n));
        }
        let entries: Vec<_> = std::iter::from_fn(|| queue.pop_due(UnixMs(4_999))).collect();
        assert!(entries.len() <= SLACK + 3, "{}", entries.len());
        assert!(entries.is_sorted() && entries.last() == Some(&(UnixMs(4_999), CheckId::plain(1))));
    }
}
