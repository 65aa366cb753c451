//! Which object is written next: the worst news first, each object once. Pure; the caller passes the time.
//! [`pausing`]: the same, and an object whose write failed waits.

mod pausing;

pub(super) use pausing::PausingQueue;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::Hash;
use std::time::Instant;

use crate::model::name::ServiceKey;

/// How bad the news is, the worst first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Urgency {
    /// An instance became unhealthy.
    Fall,
    /// An instance recovered.
    Recovery,
    /// Anything else.
    Other,
}

/// By urgency, then first come, first served.
type QueuePosition = (Urgency, u64);

/// Holds each object at most once, so it is bounded by their number.
#[derive(Debug)]
pub(super) struct Queue<K = ServiceKey> {
    ready: BTreeMap<QueuePosition, K>,
    /// Objects that must wait, by when they may be written.
    later: BTreeSet<(Instant, QueuePosition, K)>,
    positions: HashMap<K, (QueuePosition, Option<Instant>)>,
    next: u64,
}

impl<K> Default for Queue<K> {
    fn default() -> Self {
        Self { ready: BTreeMap::new(), later: BTreeSet::new(), positions: HashMap::new(), next: 0 }
    }
}

impl<K: Clone + Ord + Hash> Queue<K> {
    /// Adds an object that may be written from `wait` on, at once without it. One that is queued already keeps its position and becomes at
    /// most more urgent and earlier.
    pub(super) fn push(&mut self, key: &K, urgency: Urgency, wait: Option<Instant>) {
        let (position, wait) = match self.remove(key) {
            Some(((was, turn), waited)) => ((was.min(urgency), turn), waited.and_then(|w| Some(w.min(wait?)))),
            None => ((urgency, self.next), wait),
        };
        self.next += 1;
        match wait {
            None => drop(self.ready.insert(position, key.clone())),
            Some(at) => drop(self.later.insert((at, position, key.clone()))),
        }
        self.positions.insert(key.clone(), (position, wait));
    }

    /// Removes an object.
    pub(super) fn remove(&mut self, key: &K) -> Option<(QueuePosition, Option<Instant>)> {
        let (position, wait) = self.positions.remove(key)?;
        match wait {
            None => drop(self.ready.remove(&position)),
            Some(at) => drop(self.later.remove(&(at, position, key.clone()))),
        }
        Some((position, wait))
    }

    /// The next object that may be written.
    pub(super) fn pop(&mut self, now: Instant) -> Option<K> {
        self.ripen(now);
        let (_, key) = self.ready.pop_first()?;
        self.positions.remove(&key);
        Some(key)
    }

    /// Moves objects that have waited long enough.
    fn ripen(&mut self, now: Instant) {
        while self.later.first().is_some_and(|(at, ..)| *at <= now) {
            let Some((_, position, key)) = self.later.pop_first() else { return };
            self.positions.insert(key.clone(), (position, None));
            self.ready.insert(position, key);
        }
    }

    /// Whether an object may be written now.
    pub(super) fn is_ready(&mut self, now: Instant) -> bool {
        self.ripen(now);
        !self.ready.is_empty()
    }

    /// When the first waiting object may be written.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.later.first().map(|(at, ..)| *at)
    }

    pub(super) fn len(&self) -> usize {
        self.positions.len()
    }

    pub(super) fn clear(&mut self) {
        self.ready.clear();
        self.later.clear();
        self.positions.clear();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn key(name: &str) -> ServiceKey {
        ServiceKey::new(&"shop".parse().expect("a name"), &name.parse().expect("a name"))
    }

    fn drain(queue: &mut Queue, now: Instant) -> Vec<String> {
        std::iter::from_fn(|| queue.pop(now)).map(|key| key.name().to_owned()).collect()
    }

    #[test]
    fn the_worst_goes_first_and_each_once() {
        let (mut queue, now) = (Queue::default(), Instant::now());
        for (name, urgency) in [
            ("a", Urgency::Other),
            ("b", Urgency::Recovery),
            ("c", Urgency::Fall),
            ("d", Urgency::Other),
            ("a", Urgency::Recovery),
            ("d", Urgency::Fall),
            ("c", Urgency::Other),
        ] {
            queue.push(&key(name), urgency, None);
        }
        assert_eq!(queue.len(), 4);
        assert_eq!(drain(&mut queue, now), ["c", "d", "a", "b"]);
        assert_eq!(queue.len(), 0);
    }

    #[test]
    fn what_must_wait_waits_unless_worse_news_comes() {
        let (mut queue, now) = (Queue::default(), Instant::now());
        let soon = now + Duration::from_millis(200);
        queue.push(&key("a"), Urgency::Other, Some(soon));
        queue.push(&key("b"), Urgency::Other, Some(soon));
        queue.push(&key("b"), Urgency::Fall, None);
        assert_eq!(drain(&mut queue, now), ["b"]);
        assert_eq!(queue.next_due(), Some(soon));
        queue.push(&key("a"), Urgency::Other, Some(soon + Duration::from_secs(1)));
        assert_eq!(queue.next_due(), Some(soon), "more of the same does not delay it");
        assert!(queue.is_ready(soon));
        assert_eq!(drain(&mut queue, soon), ["a"]);
        queue.push(&key("a"), Urgency::Other, Some(soon));
        assert!(queue.remove(&key("a")).is_some());
        assert_eq!((queue.len(), queue.next_due()), (0, None));
    }
}
