//! Which object is looked at next: the urgent ones first. Each waits only once, and pauses after a failure. Pure.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::model::backoff::Backoff;
use crate::model::name::ServiceKey;
use crate::operator::queue::{Queue, Urgency};

/// Pauses for one object after failed writes.
const PAUSES: Backoff = Backoff::new(Duration::from_millis(500), Duration::from_mins(1));

/// Objects to look at; bounded by their number.
#[derive(Debug, Default)]
pub(super) struct PausingQueue {
    waiting: Queue,
    failing: HashMap<ServiceKey, (Instant, Backoff)>,
}

impl PausingQueue {
    /// Adds an object. One that is there stays where it is, or becomes urgent.
    pub(super) fn push(&mut self, key: &ServiceKey, urgent: bool) {
        let urgency = if urgent { Urgency::Fall } else { Urgency::Other };
        let pause = self.failing.get(key).map(|(until, _)| *until);
        self.waiting.push(key, urgency, pause);
    }

    /// The next object that need not wait.
    pub(super) fn pop(&mut self, now: Instant) -> Option<ServiceKey> {
        loop {
            let key = self.waiting.pop(now)?;
            // It may have failed since it was added.
            if self.failing.get(&key).is_none_or(|(until, _)| *until <= now) {
                return Some(key);
            }
            self.push(&key, false);
        }
    }

    /// A write of the object failed: it waits.
    pub(super) fn failed(&mut self, key: &ServiceKey, now: Instant) {
        let (_, mut backoff) = self.failing.remove(key).unwrap_or((now, PAUSES));
        self.failing.insert(key.clone(), (now + backoff.next(), backoff));
    }

    /// Whether its last write failed.
    pub(super) fn is_failing(&self, key: &ServiceKey) -> bool {
        self.failing.contains_key(key)
    }

    /// Nothing of the object fails any more.
    pub(super) fn succeeded(&mut self, key: &ServiceKey) {
        self.failing.remove(key);
    }

    /// Whether any need not wait.
    pub(super) fn is_ready(&mut self, now: Instant) -> bool {
        self.waiting.is_ready(now)
    }

    /// When the first that waits may be looked at.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.waiting.next_due()
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> ServiceKey {
        ServiceKey::new(&"shop".parse().expect("a name"), &name.parse().expect("a name"))
    }

    fn all(queue: &mut PausingQueue, now: Instant) -> Vec<String> {
        std::iter::from_fn(|| queue.pop(now)).map(|key| key.name().to_owned()).collect()
    }

    #[test]
    fn the_urgent_go_first_and_each_once() {
        let (mut queue, now) = (PausingQueue::default(), Instant::now());
        for (name, urgent) in [("a", false), ("b", true), ("c", false), ("c", true), ("b", false), ("a", false)] {
            queue.push(&key(name), urgent);
        }
        assert_eq!(all(&mut queue, now), ["b", "c", "a"]);
        assert!(!queue.is_ready(now));
        queue.push(&key("c"), false);
        assert_eq!(all(&mut queue, now), ["c"], "it may come again");
    }

    #[test]
    fn what_fails_waits_longer_and_longer() {
        let (mut queue, now) = (PausingQueue::default(), Instant::now());
        queue.failed(&key("a"), now);
        queue.push(&key("a"), true);
        queue.push(&key("b"), false);
        assert_eq!(all(&mut queue, now), ["b"]);
        let first = queue.next_due().expect("it waits");
        assert_eq!(all(&mut queue, first), ["a"]);
        (0..12).for_each(|_| queue.failed(&key("a"), now));
        queue.push(&key("a"), false);
        assert_eq!(all(&mut queue, first), [""; 0]);
        assert!(queue.next_due() >= Some(now + Duration::from_secs(30)));
        assert!(queue.is_failing(&key("a")) && !queue.is_failing(&key("b")));
        queue.succeeded(&key("a"));
        assert!(!queue.is_failing(&key("a")));
        queue.push(&key("a"), false);
        assert_eq!(all(&mut queue, now), ["a"]);
    }
}
