//! Changes of health on their way to the store: while one batch is committed the next ones gather.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::time::Duration;

use crate::model::probe::HealthChange;
use crate::model::service::InstanceId;
use crate::model::time::UnixMs;

/// Most changes of one commit.
const BATCH: usize = 1024;
/// Changes that may wait before those of one instance are made one.
const GATHERED: usize = 4096;
const BUSY_PAUSE: Duration = Duration::from_millis(20);
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// The queue. Each change has a number; numbers grow by one and are finished in order.
#[derive(Debug)]
pub(crate) struct ChangeQueue {
    waiting: Vec<(u64, HealthChange)>,
    newest: u64,
    finished: u64,
    under_way: Vec<(u64, HealthChange)>,
    retry_at: UnixMs,
    pause: Duration,
    merge_at: usize,
}

impl Default for ChangeQueue {
    fn default() -> Self {
        Self {
            waiting: Vec::new(),
            newest: 0,
            finished: 0,
            under_way: Vec::new(),
            retry_at: UnixMs(i64::MIN),
            pause: FIRST_PAUSE,
            merge_at: GATHERED,
        }
    }
}

impl ChangeQueue {
    /// Adds a change and returns its number.
    pub(crate) fn push(&mut self, change: HealthChange) -> u64 {
        self.newest += 1;
        self.waiting.push((self.newest, change));
        if self.waiting.len() >= self.merge_at {
            self.merge();
        }
        self.newest
    }

    /// Changes not yet committed.
    pub(crate) fn len(&self) -> usize {
        self.waiting.len() + self.under_way.len()
    }

    /// Whether every change is committed.
    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Every change up to this number is finished.
    pub(crate) fn finished(&self) -> u64 {
        self.finished
    }

    /// Whether the last commit failed.
    pub(crate) fn failing(&self) -> bool {
        self.pause > FIRST_PAUSE
    }

    /// When a batch could go, unless one is under way: at once, or after a pause.
    pub(crate) fn next(&self) -> Option<UnixMs> {
        (self.under_way.is_empty() && !self.waiting.is_empty()).then_some(self.retry_at)
    }

    /// Lets nothing go before `at`.
    pub(crate) fn postpone(&mut self, at: UnixMs) {
        self.retry_at = at;
    }

    /// Lets the next batch go at once, for the end.
    pub(crate) fn hurry(&mut self) {
        self.retry_at = UnixMs(i64::MIN);
    }

    /// The next batch, if one may go now. It counts as under way until [`ChangeQueue::done`] or [`ChangeQueue::failed`].
    pub(crate) fn take(&mut self, now: UnixMs) -> Option<Vec<HealthChange>> {
        if self.next()? > now {
            return None;
        }
        let rest = self.waiting.split_off(self.waiting.len().min(BATCH));
        self.under_way = std::mem::replace(&mut self.waiting, rest);
        Some(self.under_way.iter().map(|(_, change)| change.clone()).collect())
    }

    /// The batch is committed.
    pub(crate) fn done(&mut self) {
        if let Some((number, _)) = self.under_way.last() {
            self.finished = *number;
        }
        self.under_way.clear();
        self.pause = FIRST_PAUSE;
        self.retry_at = UnixMs(i64::MIN);
        self.merge_at = GATHERED;
    }

    /// The batch found no place in the store's queue: it goes again soon.
    pub(crate) fn busy(&mut self, now: UnixMs) {
        self.put_back();
        self.retry_at = now.plus(BUSY_PAUSE);
    }

    fn put_back(&mut self) {
        let gathered = std::mem::take(&mut self.waiting);
        self.waiting = std::mem::take(&mut self.under_way);
        self.waiting.extend(gathered);
    }

    /// The batch failed: it goes again, first, after a pause. Returns whether it is the first failure since a success.
    pub(crate) fn failed(&mut self, now: UnixMs) -> bool {
        let first = !self.failing();
        self.put_back();
        self.retry_at = now.plus(self.pause);
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        first
    }

    /// Makes the waiting changes of each instance one, which spans them all: so they are at most as many as the instances are.
    fn merge(&mut self) {
        let mut places: HashMap<InstanceId, usize> = HashMap::new();
        let mut merged: Vec<(u64, HealthChange)> = Vec::new();
        for (number, change) in std::mem::take(&mut self.waiting) {
            match places.entry(change.instance) {
                Entry::Vacant(vacant) => {
                    vacant.insert(merged.len());
                    merged.push((number, change));
                }
                Entry::Occupied(place) => join(&mut merged[*place.get()].1, change),
            }
        }
        // The last number must stay, or those who wait for it would wait for ever.
        if let Some(last) = merged.last_mut() {
            last.0 = self.newest;
        }
        self.merge_at = GATHERED.max(2 * merged.len());
        self.waiting = merged;
    }
}

fn join(earlier: &mut HealthChange, later: HealthChange) {
    let from = earlier.transition.as_ref().map(|t| t.from);
    let same_generation = earlier.generation == later.generation;
    let fallback = if same_generation { earlier.transition.take() } else { None };
    *earlier = later;
    if !same_generation {
        return;
    }
    if let (Some(transition), Some(from)) = (earlier.transition.as_mut(), from) {
        transition.from = from;
    }
    earlier.transition = earlier.transition.take().or(fallback);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::health::CheckState;
    use crate::model::outcome::{Health, Reason, Transition};
    use crate::model::time::Now;

    fn change(id: i64, from: Health, to: Health) -> HealthChange {
        let at = UnixMs(1);
        let transition = Transition { at, from, to, reason: Reason::Passed, message: String::new(), evidence: None };
        HealthChange {
            instance: InstanceId(id),
            generation: 1,
            health: to,
            reason: Reason::Passed,
            since: at,
            message: None,
            transition: Some(transition),
            state: CheckState::new(Now { steady: at, wall: at }),
        }
    }

    #[test]
    fn a_failed_batch_goes_again_first_and_in_order() {
        let mut queue = ChangeQueue::default();
        queue.push(change(1, Health::Unknown, Health::Healthy));
        let batch = queue.take(UnixMs(0)).expect("one waits");
        assert_eq!(batch.len(), 1);
        queue.push(change(1, Health::Healthy, Health::Unhealthy));
        assert!(queue.take(UnixMs(0)).is_none(), "one at a time");
        assert!(queue.failed(UnixMs(0)));
        assert!(queue.take(UnixMs(249)).is_none(), "not at once");
        let batch = queue.take(UnixMs(250)).expect("due again");
        assert_eq!(batch.iter().map(|c| c.health).collect::<Vec<_>>(), [Health::Healthy, Health::Unhealthy]);
        assert!(!queue.failed(UnixMs(250)), "said once");
        queue.take(UnixMs(10_000)).expect("again");
        queue.done();
        assert_eq!((queue.finished(), queue.len(), queue.failing()), (2, 0, false));
    }

    #[test]
    fn a_long_outage_of_the_store_keeps_one_change_an_instance() {
        let mut queue = ChangeQueue::default();
        for n in 0..100_000_i64 {
            let (from, to) = if n / 10 % 2 == 0 {
                (Health::Unhealthy, Health::Healthy)
            } else {
                (Health::Healthy, Health::Unhealthy)
            };
            queue.push(change(n % 10, from, to));
        }
        assert!(queue.len() < GATHERED);
        let mut seen = 0;
        while let Some(batch) = queue.take(UnixMs(0)) {
            seen += batch.len();
            queue.done();
        }
        assert!(seen >= 10);
        assert_eq!(queue.finished(), 100_000);
    }
}
