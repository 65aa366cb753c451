//! Changes of health on their way to the store: while one batch is committed, the next ones are collected.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::time::Duration;

use crate::model::probe::HealthChange;
use crate::model::service::InstanceId;
use crate::model::time::UnixMs;

/// Most changes per commit.
const BATCH: usize = 1024;
/// Changes that may wait before those of one instance are merged.
const MERGE_AT: usize = 4096;
const BUSY_PAUSE: Duration = Duration::from_millis(20);
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// The queue. Each change has a number, one higher than the last; they are finished in order.
#[derive(Debug)]
pub(crate) struct ChangeQueue {
    waiting: Vec<(u64, HealthChange)>,
    newest: u64,
    finished: u64,
    in_flight: Vec<(u64, HealthChange)>,
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
            in_flight: Vec::new(),
            retry_at: UnixMs(i64::MIN),
            pause: FIRST_PAUSE,
            merge_at: MERGE_AT,
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

    /// The number of changes that are not committed.
    pub(crate) fn len(&self) -> usize {
        self.waiting.len() + self.in_flight.len()
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

    /// When the next batch may go; none while one is in flight or none waits.
    pub(crate) fn next(&self) -> Option<UnixMs> {
        (self.in_flight.is_empty() && !self.waiting.is_empty()).then_some(self.retry_at)
    }

    /// Sends nothing before `at`.
    pub(crate) fn postpone(&mut self, at: UnixMs) {
        self.retry_at = at;
    }

    /// Sends the next batch at once, for the shutdown.
    pub(crate) fn hurry(&mut self) {
        self.retry_at = UnixMs(i64::MIN);
    }

    /// The next batch, if one may go now. It is in flight until [`ChangeQueue::done`] or [`ChangeQueue::failed`].
    pub(crate) fn take(&mut self, now: UnixMs) -> Option<Vec<HealthChange>> {
        if self.next()? > now {
            return None;
        }
        let rest = self.waiting.split_off(self.waiting.len().min(BATCH));
        self.in_flight = std::mem::replace(&mut self.waiting, rest);
        Some(self.in_flight.iter().map(|(_, change)| change.clone()).collect())
    }

    /// Notes that the batch is committed.
    pub(crate) fn done(&mut self) {
        if let Some((number, _)) = self.in_flight.last() {
            self.finished = *number;
        }
        self.in_flight.clear();
        self.pause = FIRST_PAUSE;
        self.retry_at = UnixMs(i64::MIN);
        self.merge_at = MERGE_AT;
    }

    /// Notes that the store's queue had no room: the batch is retried soon.
    pub(crate) fn busy(&mut self, now: UnixMs) {
        self.put_back();
        self.retry_at = now.plus(BUSY_PAUSE);
    }

    fn put_back(&mut self) {
        let waiting = std::mem::take(&mut self.waiting);
        self.waiting = std::mem::take(&mut self.in_flight);
        self.waiting.extend(waiting);
    }

    /// Notes that the batch failed: it is retried, before the others, after a pause. Returns whether this is the first failure since a
    /// success.
    pub(crate) fn failed(&mut self, now: UnixMs) -> bool {
        let first = !self.failing();
        self.put_back();
        self.retry_at = now.plus(self.pause);
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        first
    }

    /// Merges the waiting changes of each instance into one that spans them all, so that there are at most as many as instances.
    fn merge(&mut self) {
        let mut positions: HashMap<InstanceId, usize> = HashMap::new();
        let mut merged: Vec<(u64, HealthChange)> = Vec::new();
        for (number, change) in std::mem::take(&mut self.waiting) {
            match positions.entry(change.instance) {
                Entry::Vacant(vacant) => {
                    vacant.insert(merged.len());
                    merged.push((number, change));
                }
                Entry::Occupied(position) => join(&mut merged[*position.get()].1, change),
            }
        }
        // The last number must stay: on-demand checks may wait for it.
        if let Some(last) = merged.last_mut() {
            last.0 = self.newest;
        }
        self.merge_at = MERGE_AT.max(2 * merged.len());
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
        let transition = Transition {
            at,
            from,
            to,
            reason: Reason::Passed,
            message: String::new(),
            check: crate::model::name::CheckName::default(),
            evidence: None,
        };
        HealthChange {
            instance: InstanceId(id),
            generation: 1,
            health: to,
            reason: Reason::Passed,
            since: at,
            message: None,
            check: crate::model::name::CheckName::default(),
            warning: None,
            also_failing: Box::default(),
            observed_version: None,
            transition: Some(transition),
            state: CheckState::new(Now { steady: at, wall: at }),
        }
    }

    #[test]
    fn a_failed_batch_is_retried_first_and_in_order() {
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
        assert!(!queue.failed(UnixMs(250)), "reported once");
        queue.take(UnixMs(10_000)).expect("again");
        queue.done();
        assert_eq!((queue.finished(), queue.len(), queue.failing()), (2, 0, false));
    }

    #[test]
    fn a_long_outage_of_the_store_keeps_one_change_per_instance() {
        let mut queue = ChangeQueue::default();
        for n in 0..100_000_i64 {
            let (from, to) = if n / 10 % 2 == 0 {
                (Health::Unhealthy, Health::Healthy)
            } else {
                (Health::Healthy, Health::Unhealthy)
            };
            queue.push(change(n % 10, from, to));
        }
        assert!(queue.len() < MERGE_AT);
        let mut committed = 0;
        while let Some(batch) = queue.take(UnixMs(0)) {
            committed += batch.len();
            queue.done();
        }
        assert!(committed >= 10);
        assert_eq!(queue.finished(), 100_000);
    }
}
