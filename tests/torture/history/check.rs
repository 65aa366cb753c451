//! Whether what clients saw of one name can have been one register: each write and each read took effect at one moment between its call
//! and its answer (linearizability, [Herlihy and Wing 1990](https://doi.org/10.1145/78969.78972)).
//!
//! The search is that of Wing and Gong with Lowe's memory of what was tried.

use std::collections::HashSet;

/// What a name shows: a value, or that it is not there.
pub(crate) type There = Option<String>;

/// What an operation does, or saw.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum What {
    /// Registered with this value.
    Put(String),
    /// Deregistered.
    Removed,
    /// Read; also a removal of what was not there.
    Saw(There),
}

/// What a name showed at a revision, as the answer to a registration said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Written {
    pub(crate) revision: u64,
    pub(crate) name: String,
    pub(crate) value: String,
}

/// One operation of a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Op {
    pub(crate) client: usize,
    pub(crate) what: What,
    /// When it was called, in the order of all calls and answers.
    pub(crate) called: u64,
    /// When it was answered; never, if it was cut off or refused by a fault: then it may have taken effect at any time since, or not.
    pub(crate) answered: Option<u64>,
}

impl Op {
    /// What is there after it; none where it cannot have happened.
    fn apply(&self, there: &There) -> Option<There> {
        match &self.what {
            What::Put(value) => Some(Some(value.clone())),
            What::Removed => there.is_some().then_some(None),
            What::Saw(seen) => (seen == there).then(|| there.clone()),
        }
    }
}

/// Most steps of a search: many times what the histories here need.
const MOST_STEPS: usize = 2_000_000;

/// Whether the operations on one name make sense, beginning with `first`. The order in which they can have happened, else the longest
/// that was found before none fitted.
pub(crate) fn linearize(first: &There, ops: &[Op]) -> Result<Vec<usize>, Vec<usize>> {
    let mut ops: Vec<(usize, &Op)> = ops.iter().enumerate().collect();
    ops.sort_by_key(|(_, op)| op.called);
    let mut search = Search { ops: &ops, done: vec![false; ops.len()], tried: HashSet::new(), longest: Vec::new() };
    let (mut path, mut there, mut from) = (Vec::<(usize, There)>::new(), first.clone(), 0);
    for _ in 0..MOST_STEPS {
        if search.is_complete() {
            return Ok(path.iter().map(|(at, _)| ops[*at].0).collect());
        }
        if let Some((at, after)) = search.next(&there, from) {
            search.done[at] = true;
            path.push((at, std::mem::replace(&mut there, after)));
            from = 0;
            search.reached(&path);
        } else {
            let Some((at, before)) = path.pop() else {
                return Err(search.longest.iter().map(|at| ops[*at].0).collect());
            };
            search.done[at] = false;
            (there, from) = (before, at + 1);
        }
    }
    panic!("the history is too tangled to be checked: {ops:?}");
}

struct Search<'a> {
    ops: &'a [(usize, &'a Op)],
    done: Vec<bool>,
    tried: HashSet<(Vec<bool>, There)>,
    longest: Vec<usize>,
}

impl Search<'_> {
    /// Whether all that was answered is placed.
    fn is_complete(&self) -> bool {
        self.ops.iter().zip(&self.done).all(|((_, op), done)| *done || op.answered.is_none())
    }

    /// The next operation, from a place on, that can come first of those that are left.
    fn next(&mut self, there: &There, from: usize) -> Option<(usize, There)> {
        let left = || self.ops.iter().enumerate().filter(|(at, _)| !self.done[*at]);
        // Whatever was called after another was answered comes after that.
        let until = left().filter_map(|(_, (_, op))| op.answered).min().unwrap_or(u64::MAX);
        let fitting = left().skip_while(|(at, _)| *at < from).take_while(|(_, (_, op))| op.called < until);
        let fitting: Vec<_> = fitting.filter_map(|(at, (_, op))| Some((at, op.apply(there)?))).collect();
        fitting.into_iter().find(|(at, after)| {
            let mut done = self.done.clone();
            done[*at] = true;
            self.tried.insert((done, after.clone()))
        })
    }

    fn reached(&mut self, path: &[(usize, There)]) {
        if path.len() > self.longest.len() {
            self.longest = path.iter().map(|(at, _)| *at).collect();
        }
    }
}

/// What of a history does not fit.
pub(crate) fn story(name: &str, first: &There, ops: &[Op], longest: &[usize]) -> String {
    let mut lines =
        vec![format!("{name}, at first {first:?}, cannot have been like this; the longest order that can:")];
    lines.extend(longest.iter().rev().take(12).rev().map(|at| format!("  {:?}", ops[*at])));
    lines.push("left are:".to_owned());
    let mut left: Vec<_> = (0..ops.len()).filter(|at| !longest.contains(at)).map(|at| &ops[at]).collect();
    left.sort_by_key(|op| op.called);
    lines.extend(left.iter().take(12).map(|op| format!("  {op:?}")));
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `client what called answered`, of one letter a value: `+a` put, `-` removed, `a` saw, `.` saw nothing, `?` never answered.
    fn holds(history: &[(&str, u64, u64)]) -> bool {
        let op = |(n, (what, called, answered)): (usize, &(&str, u64, u64))| {
            let what = match what.split_at(1) {
                ("+", value) => What::Put(value.to_owned()),
                ("-", _) => What::Removed,
                (".", _) => What::Saw(None),
                (value, _) => What::Saw(Some(value.to_owned())),
            };
            Op { client: n, what, called: *called, answered: (*answered > 0).then_some(*answered) }
        };
        let ops: Vec<Op> = history.iter().enumerate().map(op).collect();
        linearize(&None, &ops).is_ok()
    }

    #[test]
    fn what_was_acknowledged_is_read() {
        assert!(holds(&[("+a", 1, 2), ("a", 3, 4)]));
        assert!(!holds(&[("+a", 1, 2), (".", 3, 4)]), "lost");
        assert!(!holds(&[("+a", 1, 2), ("+b", 3, 4), ("a", 5, 6)]), "stale");
        assert!(!holds(&[("+a", 1, 2), ("-", 3, 4), ("a", 5, 6)]), "back from the dead");
    }

    #[test]
    fn what_happens_at_once_may_come_in_any_order() {
        assert!(holds(&[("+a", 1, 5), ("+b", 2, 6), ("a", 7, 8)]));
        assert!(holds(&[("+a", 1, 5), (".", 2, 3)]));
        assert!(holds(&[("+a", 1, 5), ("a", 2, 3)]));
        assert!(!holds(&[("+a", 1, 9), ("a", 2, 3), (".", 4, 5)]), "a reader went back");
        assert!(!holds(&[("+a", 1, 2), ("+b", 3, 9), ("b", 4, 5), ("a", 6, 7)]), "a reader went back");
    }

    #[test]
    fn what_was_cut_off_may_have_happened_once() {
        assert!(holds(&[("+a", 1, 0), (".", 2, 3)]));
        assert!(holds(&[("+a", 1, 0), (".", 2, 3), ("a", 4, 5)]));
        assert!(!holds(&[("+a", 1, 0), ("a", 2, 3), ("+b", 4, 5), ("a", 6, 7)]), "twice");
        assert!(!holds(&[("a", 1, 2), ("+a", 3, 0)]), "before it was asked");
    }

    #[test]
    fn a_removal_needs_something_to_remove() {
        assert!(holds(&[("+a", 1, 5), ("-", 2, 6), (".", 7, 8)]));
        assert!(!holds(&[("-", 1, 2), ("+a", 3, 4)]));
    }
}
