//! Who is probed next when more are due than there are slots: kinds take turns, and within a kind namespaces do.

use std::collections::{HashMap, VecDeque};

use crate::model::service::InstanceId;

/// How an instance's last probe went, as far as the next one's place in the queue goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Kind {
    /// Passed, in good time.
    Quick,
    /// Failed, in good time.
    Failing,
    /// Never probed: wanted soon, but may hold its slot for long.
    New,
    /// Took half of its timeout or more: may hold its slot for long.
    Slow,
}

impl Kind {
    /// Whether it may take only the slots for slow ones.
    pub(super) fn slow(self) -> bool {
        matches!(self, Self::New | Self::Slow)
    }
}

/// A place in the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Class {
    /// Asked for by a person or by the guard.
    pub(super) urgent: bool,
    /// What the last probe was like.
    pub(super) kind: Kind,
}

/// One queue in which namespaces take turns.
#[derive(Debug, Default)]
struct Fair {
    turns: VecDeque<u64>,
    queues: HashMap<u64, VecDeque<InstanceId>>,
}

impl Fair {
    fn push(&mut self, namespace: u64, instance: InstanceId) {
        let queue = self.queues.entry(namespace).or_default();
        if queue.is_empty() {
            self.turns.push_back(namespace);
        }
        queue.push_back(instance);
    }

    fn pop(&mut self) -> Option<InstanceId> {
        let namespace = self.turns.pop_front()?;
        let queue = self.queues.get_mut(&namespace)?;
        let instance = queue.pop_front();
        if queue.is_empty() {
            self.queues.remove(&namespace);
        } else {
            self.turns.push_back(namespace);
        }
        instance
    }
}

/// Everything that is due and waits for a slot. Entries of instances that are gone stay until they are popped.
#[derive(Debug, Default)]
pub(super) struct Ready {
    urgent: [Fair; 4],
    usual: [Fair; 4],
    turn: u8,
}

impl Ready {
    /// Adds an instance of a namespace, named by a number.
    pub(super) fn push(&mut self, class: Class, namespace: u64, instance: InstanceId) {
        let row = if class.urgent { &mut self.urgent } else { &mut self.usual };
        row[class.kind as usize].push(namespace, instance);
    }

    /// Whether one waits that is not slow.
    pub(super) fn has_quick(&self) -> bool {
        let waits = |row: &[Fair; 4]| row.iter().take(Kind::New as usize).any(|fair| !fair.turns.is_empty());
        waits(&self.urgent) || waits(&self.usual)
    }

    /// Takes the next one. Urgent ones come first, then new ones, then those that passed; but one turn in eight belongs to the failing ones
    /// and one to the slow ones, so that nobody waits for ever. Without `slow`, new and slow ones stay.
    pub(super) fn pop(&mut self, slow: bool) -> Option<InstanceId> {
        use Kind::{Failing, New, Quick, Slow};
        let (order, urgent_first) = match self.turn {
            3 => ([Failing, Quick, New, Slow], false),
            7 => ([Slow, Quick, New, Failing], false),
            _ => ([New, Quick, Failing, Slow], true),
        };
        let (first, second) =
            if urgent_first { (&mut self.urgent, &mut self.usual) } else { (&mut self.usual, &mut self.urgent) };
        let found = take(first, order, slow).or_else(|| take(second, order, slow));
        if found.is_some() {
            self.turn = (self.turn + 1) % 8;
        }
        found
    }
}

fn take(row: &mut [Fair; 4], order: [Kind; 4], slow: bool) -> Option<InstanceId> {
    order.into_iter().filter(|kind| slow || !kind.slow()).find_map(|kind| row[kind as usize].pop())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usual(kind: Kind) -> Class {
        Class { urgent: false, kind }
    }

    #[test]
    fn namespaces_take_turns() {
        let mut ready = Ready::default();
        for n in 0..1000 {
            ready.push(usual(Kind::Quick), 1, InstanceId(n));
        }
        ready.push(usual(Kind::Quick), 2, InstanceId(5000));
        ready.push(usual(Kind::Quick), 2, InstanceId(5001));
        let first: Vec<_> = std::iter::from_fn(|| ready.pop(true)).take(4).map(|id| id.0).collect();
        assert_eq!(first, [0, 5000, 1, 5001]);
    }

    #[test]
    fn slow_ones_wait_while_they_may_not_and_are_not_forgotten() {
        let mut ready = Ready::default();
        ready.push(usual(Kind::Slow), 1, InstanceId(1));
        assert_eq!(ready.pop(false), None);
        for n in 10..30 {
            ready.push(usual(Kind::Quick), 1, InstanceId(n));
        }
        let first: Vec<_> = std::iter::from_fn(|| ready.pop(true)).take(8).map(|id| id.0).collect();
        assert!(first.contains(&1), "{first:?}");
        assert_ne!(first[0], 1);
    }

    #[test]
    fn new_ones_do_not_wait_behind_those_that_hang() {
        let mut ready = Ready::default();
        for n in 0..1000 {
            ready.push(usual(Kind::Slow), 1, InstanceId(n));
        }
        ready.push(usual(Kind::New), 1, InstanceId(5000));
        assert_eq!(ready.pop(false), None, "it may hang as well");
        assert_eq!(ready.pop(true), Some(InstanceId(5000)));
    }

    #[test]
    fn urgent_ones_come_first_but_do_not_starve_the_rest() {
        let mut ready = Ready::default();
        for n in 0..100 {
            ready.push(Class { urgent: true, kind: Kind::Failing }, 1, InstanceId(n));
            ready.push(usual(Kind::Quick), 1, InstanceId(1000 + n));
        }
        let first: Vec<_> = std::iter::from_fn(|| ready.pop(true)).take(8).map(|id| id.0).collect();
        assert_eq!(first.iter().filter(|id| **id < 1000).count(), 6, "{first:?}");
    }
}
