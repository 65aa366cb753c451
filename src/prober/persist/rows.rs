//! Probe rows on their way to the store: coalesced, a bounded number at a time.

use std::collections::VecDeque;
use std::time::Duration;

use crate::model::service::CheckId;
use crate::model::time::UnixMs;

/// Time between rounds.
const ROUND: Duration = Duration::from_secs(2);
/// Most rows per round; the rest waits for the next one, and those that have waited longest go first.
const PER_ROUND: usize = 4096;
/// Rows handed over at once: a registration waits for at most as many.
const CHUNK: usize = 64;
/// Time between two chunks, so that a full round spreads over its time.
const GAP: Duration = Duration::from_millis(ROUND.as_secs() * 1000 * CHUNK as u64 / PER_ROUND as u64);

/// Instances whose stored row is outdated. The caller adds each at most once.
#[derive(Debug, Default)]
pub(crate) struct RowQueue {
    dirty: VecDeque<CheckId>,
    next_round: UnixMs,
    next_chunk: UnixMs,
    left: usize,
    in_flight: bool,
    failing: bool,
}

impl RowQueue {
    pub(crate) fn push(&mut self, instance: CheckId) {
        self.dirty.push_back(instance);
    }

    /// When [`RowQueue::take`] may have some; none while some are in flight or none wait.
    pub(crate) fn next(&self) -> Option<UnixMs> {
        match (self.in_flight, self.left) {
            (true, _) => None,
            (false, 0) => (!self.dirty.is_empty()).then_some(self.next_round.max(self.next_chunk)),
            (false, _) => Some(self.next_chunk),
        }
    }

    /// Those to store now, among those that may go; the others wait for the next round. They are in flight until [`RowQueue::done`].
    pub(crate) fn take(&mut self, now: UnixMs, may_go: impl Fn(CheckId) -> bool) -> Vec<CheckId> {
        if self.in_flight || now < self.next_chunk {
            return Vec::new();
        }
        if self.left == 0 && now >= self.next_round {
            self.next_round = now.plus(ROUND);
            self.left = self.dirty.len().min(PER_ROUND);
        }
        let mut ids = Vec::new();
        while self.left > 0 && ids.len() < CHUNK {
            self.left -= 1;
            match self.dirty.pop_front() {
                Some(id) if may_go(id) => ids.push(id),
                Some(id) => self.dirty.push_back(id),
                None => self.left = 0,
            }
        }
        self.in_flight = !ids.is_empty();
        if self.in_flight {
            self.next_chunk = now.plus(GAP);
        }
        ids
    }

    /// Notes that the ones in flight are stored, or not. Returns whether a failure is the first since a success.
    pub(crate) fn done(&mut self, stored: bool) -> bool {
        self.in_flight = false;
        let first = !stored && !self.failing;
        self.failing = !stored;
        if !stored {
            // The rest of the round would fail too.
            self.left = 0;
        }
        first
    }

    /// Sends everything at once, for the shutdown.
    pub(crate) fn hurry(&mut self) {
        self.left = self.dirty.len();
        self.next_chunk = UnixMs(i64::MIN);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Stores a whole round that starts at `from`. Returns what was stored, and when its last chunk went.
    fn round(rows: &mut RowQueue, from: UnixMs, may_go: impl Fn(CheckId) -> bool) -> (Vec<CheckId>, UnixMs) {
        let (mut taken, mut last) = (Vec::new(), from);
        while let Some(at) = rows.next().filter(|at| *at < from.plus(ROUND)) {
            let now = at.max(last);
            let chunk = rows.take(now, &may_go);
            assert!(chunk.len() <= CHUNK && rows.take(now, &may_go).is_empty(), "one chunk at a time");
            taken.extend(chunk);
            rows.done(true);
            last = now;
        }
        (taken, last)
    }

    #[test]
    fn rounds_are_bounded_and_spread_and_the_oldest_go_first() {
        let mut rows = RowQueue::default();
        (0..5000).for_each(|n| rows.push(CheckId::plain(n)));
        let (taken, last) = round(&mut rows, UnixMs(0), |_| true);
        assert_eq!(taken, (0..4096).map(CheckId::plain).collect::<Vec<_>>());
        assert!(last >= UnixMs(1900), "the last chunk went at {last:?}");
        assert_eq!(rows.next(), Some(UnixMs(2000)));
        assert_eq!(rows.take(UnixMs(2000), |_| true).len(), CHUNK);
    }

    #[test]
    fn few_go_at_once() {
        let mut rows = RowQueue::default();
        (0..).take(CHUNK).for_each(|n| rows.push(CheckId::plain(n)));
        assert_eq!(rows.take(UnixMs(0), |_| true).len(), CHUNK);
    }

    #[test]
    fn at_the_shutdown_nothing_waits() {
        let mut rows = RowQueue::default();
        (0..200).for_each(|n| rows.push(CheckId::plain(n)));
        rows.hurry();
        let mut taken = rows.take(UnixMs(0), |_| true).len();
        while taken < 200 {
            rows.done(true);
            rows.hurry();
            let more = rows.take(UnixMs(0), |_| true).len();
            assert_ne!(more, 0, "after {taken}");
            taken += more;
        }
    }

    #[test]
    fn a_failure_waits_for_the_next_round() {
        let mut rows = RowQueue::default();
        rows.push(CheckId::plain(1));
        assert_eq!(rows.take(UnixMs(0), |_| true).len(), 1);
        assert!(rows.done(false), "reported once");
        rows.push(CheckId::plain(1));
        assert!(rows.take(UnixMs(1999), |_| true).is_empty());
        assert_eq!(rows.take(UnixMs(2000), |_| true).len(), 1);
        assert!(!rows.done(false));
    }

    #[test]
    fn an_instance_that_must_wait_does_not_block_others() {
        let mut rows = RowQueue::default();
        (0..1000).for_each(|n| rows.push(CheckId::plain(n)));
        let (taken, _) = round(&mut rows, UnixMs(0), |id| id == CheckId::plain(999));
        assert_eq!(taken, [CheckId::plain(999)]);
        assert_eq!(rows.next(), Some(UnixMs(2000)), "the others come in the next round");
        let (taken, _) = round(&mut rows, UnixMs(2000), |_| true);
        assert_eq!(taken.len(), 999);
    }
}
