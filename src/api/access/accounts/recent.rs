//! Answers that are remembered for a while, in a bounded number.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::Duration;

use crate::model::sync::{Mutex, PoisonError};
use crate::model::time::UnixMs;

/// Most answers remembered.
const MOST: usize = 16_384;

/// An answer, and how long ago it came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) yes: bool,
    pub(super) age: Duration,
}

/// Answers by question; times are of the steady clock.
#[derive(Debug)]
pub(super) struct Recent<K>(Mutex<HashMap<K, (UnixMs, bool)>>);

impl<K> Default for Recent<K> {
    fn default() -> Self {
        Self(Mutex::new(HashMap::new()))
    }
}

impl<K: Eq + Hash> Recent<K> {
    /// The newest answer to `question`, however old.
    pub(super) fn get(&self, question: &K, now: UnixMs) -> Option<Answer> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(question).map(|&(at, yes)| Answer { yes, age: now.since(at) })
    }

    /// How many questions that `counts` were answered with no, at most `within` ago.
    pub(super) fn refused(&self, counts: impl Fn(&K) -> bool, now: UnixMs, within: Duration) -> usize {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.iter().filter(|(question, (at, yes))| !yes && now.since(*at) < within && counts(question)).count()
    }

    /// Remembers an answer. When there is no room, answers older than `keep` are forgotten, or else the older half.
    pub(super) fn put(&self, question: K, yes: bool, now: UnixMs, keep: Duration) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MOST {
            known.retain(|_, (at, _)| now.since(*at) < keep);
        }
        if known.len() >= MOST {
            forget_older_half(&mut known);
        }
        known.insert(question, (now, yes));
    }
}

fn forget_older_half<K: Eq + Hash>(known: &mut HashMap<K, (UnixMs, bool)>) {
    let mut times: Vec<UnixMs> = known.values().map(|(at, _)| *at).collect();
    let half = times.len() / 2;
    let (_, middle, _) = times.select_nth_unstable(half);
    let middle = *middle;
    known.retain(|_, (at, _)| *at > middle);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_answer_counts_and_there_are_never_too_many() {
        let (recent, keep) = (Recent::default(), Duration::from_mins(1));
        recent.put("a", true, UnixMs(0), keep);
        recent.put("a", false, UnixMs(5), keep);
        assert_eq!(recent.get(&"a", UnixMs(7)), Some(Answer { yes: false, age: Duration::from_millis(2) }));
        assert_eq!(recent.get(&"b", UnixMs(7)), None);
        recent.put("c", true, UnixMs(5), keep);
        recent.put("d", false, UnixMs(5), keep);
        let refused = |within| recent.refused(|question| *question != "d", UnixMs(7), Duration::from_millis(within));
        assert_eq!((refused(3), refused(2)), (1, 0));
        let recent = Recent::default();
        for n in 0..3 * MOST {
            recent.put(n, true, UnixMs(n.try_into().expect("few")), keep);
            assert!(recent.0.lock().expect("sound").len() <= MOST);
        }
        assert!(recent.get(&(3 * MOST - 1), UnixMs(0)).is_some());
        assert!(recent.get(&(3 * MOST - MOST / 3), UnixMs(0)).is_some(), "the newer ones stay");
        let recent = Recent::default();
        for n in 1..MOST {
            recent.put(n, true, UnixMs(0), keep);
        }
        recent.put(MOST, true, UnixMs(59_999), keep);
        recent.put(0, true, UnixMs(60_000), keep);
        assert!(recent.get(&MOST, UnixMs(60_000)).is_some(), "the old ones went first");
        assert!(recent.get(&1, UnixMs(60_000)).is_none());
    }
}
