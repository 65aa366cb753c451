//! Probe rows on their way to the store: coalesced, off the probe path, a bounded number at a time.

use std::collections::VecDeque;
use std::time::Duration;

use crate::model::service::InstanceId;
use crate::model::time::UnixMs;

/// Time between rounds.
const ROUND: Duration = Duration::from_secs(2);
/// Rows of one round at most; the rest waits for the next one, those that have waited longest go first.
const PER_ROUND: usize = 4096;
/// Rows handed over at once: a registration that comes meanwhile waits for as many.
const CHUNK: usize = 64;
/// Time between two chunks, so that those of a full round come spread over it.
const GAP: Duration = Duration::from_millis(ROUND.as_secs() * 1000 * CHUNK as u64 / PER_ROUND as u64);

/// Instances whose stored row is older than what is known. Each is in here at most once, which its owner sees to.
#[derive(Debug, Default)]
pub(crate) struct RowQueue {
    dirty: VecDeque<InstanceId>,
    next_round: UnixMs,
    next_chunk: UnixMs,
    left: usize,
    under_way: bool,
    failing: bool,
}

impl RowQueue {
    /// Adds one.
    pub(crate) fn push(&mut self, instance: InstanceId) {
        self.dirty.push_back(instance);
    }

    /// When [`RowQueue::take`] may have some; none while some are under way or none wait.
    pub(crate) fn next(&self) -> Option<UnixMs> {
        match (self.under_way, self.left) {
            (true, _) => None,
            (false, 0) => (!self.dirty.is_empty()).then_some(self.next_round.max(self.next_chunk)),
            (false, _) => Some(self.next_chunk),
        }
    }

    /// Those to store now, of those that may go; the others wait for the next round. They are under way until [`RowQueue::done`].
    pub(crate) fn take(&mut self, now: UnixMs, may_go: impl Fn(InstanceId) -> bool) -> Vec<InstanceId> {
        if self.under_way || now < self.next_chunk {
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
        self.under_way = !ids.is_empty();
        if self.under_way {
            self.next_chunk = now.plus(GAP);
        }
        ids
    }

    /// The ones under way are stored, or not. Returns whether a failure is the first since a success.
    pub(crate) fn done(&mut self, stored: bool) -> bool {
        self.under_way = false;
        let first = !stored && !self.failing;
        self.failing = !stored;
        if !stored {
            // The rest of the round would fail alike.
            self.left = 0;
        }
        first
    }

    /// Lets everything go at once, for the end.
    pub(crate) fn hurry(&mut self) {
        self.left = self.dirty.len();
        self.next_chunk = UnixMs(i64::MIN);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Stores all of a round that begins at `from`; what was stored, and when its last chunk went.
    fn round(rows: &mut RowQueue, from: UnixMs, may_go: impl Fn(InstanceId) -> bool) -> (Vec<InstanceId>, UnixMs) {
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
        (0..5000).for_each(|n| rows.push(InstanceId(n)));
        let (taken, last) = round(&mut rows, UnixMs(0), |_| true);
        assert_eq!(taken, (0..4096).map(InstanceId).collect::<Vec<_>>());
        assert!(last >= UnixMs(1900), "the last chunk went at {last:?}");
        assert_eq!(rows.next(), Some(UnixMs(2000)));
        assert_eq!(rows.take(UnixMs(2000), |_| true).len(), CHUNK);
    }

    #[test]
    fn few_go_at_once() {
        let mut rows = RowQueue::default();
        (0..).take(CHUNK).for_each(|n| rows.push(InstanceId(n)));
        assert_eq!(rows.take(UnixMs(0), |_| true).len(), CHUNK);
    }

    #[test]
    fn at_the_end_nothing_waits_for_its_turn() {
        let mut rows = RowQueue::default();
        (0..200).for_each(|n| rows.push(InstanceId(n)));
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
        rows.push(InstanceId(1));
        assert_eq!(rows.take(UnixMs(0), |_| true).len(), 1);
        assert!(rows.done(false), "said once");
        rows.push(InstanceId(1));
        assert!(rows.take(UnixMs(1999), |_| true).is_empty());
        assert_eq!(rows.take(UnixMs(2000), |_| true).len(), 1);
        assert!(!rows.done(false));
    }

    #[test]
    fn one_that_must_wait_holds_up_no_other() {
        let mut rows = RowQueue::default();
        (0..1000).for_each(|n| rows.push(InstanceId(n)));
        let (taken, _) = round(&mut rows, UnixMs(0), |id| id == InstanceId(999));
        assert_eq!(taken, [InstanceId(999)]);
        assert_eq!(rows.next(), Some(UnixMs(2000)), "the others are looked at in the next round");
        let (taken, _) = round(&mut rows, UnixMs(2000), |_| true);
        assert_eq!(taken.len(), 999);
    }
}
