//! Which object is planned next: first those that lost an instance; each waits only once, and after a failure it pauses. Pure; the caller
//! passes the time.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::{Duration, Instant};

use super::{Queue, Urgency};
use crate::model::backoff::Backoff;
use crate::model::name::ServiceKey;

/// Pauses for one object after failed writes.
const PAUSES: Backoff = Backoff::new(Duration::from_millis(500), Duration::from_mins(1));
/// Pauses for one object about which no answer comes: perhaps none comes about any.
const UNANSWERED_PAUSES: Backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(10));

/// Objects to look at; bounded by their number.
#[derive(Debug)]
pub(in crate::operator) struct PausingQueue<K = ServiceKey> {
    waiting: Queue<K>,
    failing: HashMap<K, Failure>,
}

#[derive(Debug)]
struct Failure {
    is_answered: bool,
    until: Instant,
    backoff: Backoff,
}

impl<K> Default for PausingQueue<K> {
    fn default() -> Self {
        Self { waiting: Queue::default(), failing: HashMap::new() }
    }
}

impl<K: Clone + Ord + Hash> PausingQueue<K> {
    /// Adds an object. One that is there stays where it is, or becomes urgent.
    pub(in crate::operator) fn push(&mut self, key: &K, urgent: bool) {
        let urgency = if urgent { Urgency::Fall } else { Urgency::Other };
        let pause = self.failing.get(key).map(|failure| failure.until);
        self.waiting.push(key, urgency, pause);
    }

    /// The next object that need not wait.
    pub(in crate::operator) fn pop(&mut self, now: Instant) -> Option<K> {
        loop {
            let key = self.waiting.pop(now)?;
            // It may have failed since it was added.
            if self.failing.get(&key).is_none_or(|failure| failure.until <= now) {
                return Some(key);
            }
            self.push(&key, false);
        }
    }

    /// A write of the object failed: it waits.
    pub(in crate::operator) fn failed(&mut self, key: &K, now: Instant) {
        self.pause(key, true, now);
    }

    /// A write of the object got no answer: it waits, but never for long.
    pub(in crate::operator) fn unanswered(&mut self, key: &K, now: Instant) {
        self.pause(key, false, now);
    }

    fn pause(&mut self, key: &K, is_answered: bool, now: Instant) {
        let known = self.failing.remove(key).filter(|failure| failure.is_answered == is_answered);
        let fresh = if is_answered { PAUSES } else { UNANSWERED_PAUSES };
        let mut backoff = known.map_or(fresh, |failure| failure.backoff);
        let until = now + backoff.next();
        self.failing.insert(key.clone(), Failure { is_answered, until, backoff });
    }

    /// Whether the answer to its last write was that it failed.
    pub(in crate::operator) fn is_failing(&self, key: &K) -> bool {
        self.failing.get(key).is_some_and(|failure| failure.is_answered)
    }

    /// Whether the last write of any such object failed or got no answer.
    pub(in crate::operator) fn is_any_failing(&self, is_such: impl Fn(&K) -> bool) -> bool {
        self.failing.keys().any(is_such)
    }

    /// Nothing of the object fails any more.
    pub(in crate::operator) fn succeeded(&mut self, key: &K) {
        self.failing.remove(key);
    }

    /// Whether any need not wait.
    pub(in crate::operator) fn is_ready(&mut self, now: Instant) -> bool {
        self.waiting.is_ready(now)
    }

    /// When the first that waits may be looked at.
    pub(in crate::operator) fn next_due(&self) -> Option<Instant> {
        self.waiting.next_due()
    }

    pub(in crate::operator) fn clear(&mut self) {
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

    #[test]
    fn what_gets_no_answer_waits_but_never_for_long() {
        let (mut queue, now) = (PausingQueue::default(), Instant::now());
        (0..12).for_each(|_| queue.failed(&key("a"), now));
        queue.unanswered(&key("a"), now);
        queue.push(&key("a"), true);
        assert!(queue.next_due() <= Some(now + Duration::from_millis(500)), "it is another failure");
        (0..12).for_each(|_| queue.unanswered(&key("a"), now));
        assert_eq!(all(&mut queue, now + Duration::from_secs(1)), [""; 0]);
        let due = queue.next_due().expect("it waits");
        assert!(due > now + Duration::from_secs(4) && due <= now + Duration::from_secs(10), "{:?}", due - now);
        assert!(!queue.is_failing(&key("a")) && queue.is_any_failing(|_| true));
    }
}
