//! What clients did and saw, each at its replica.

use std::collections::BTreeMap;
use std::sync::Mutex;

use tokio::sync::watch;

use super::check::{Op, There, What, Written, linearize, story};

/// One thing that a client did at a replica, or saw there.
#[derive(Debug, Clone)]
struct Sight {
    replica: usize,
    name: String,
    what: What,
    /// A call that writes.
    writes: bool,
    /// At which revision the service was then, or later.
    revision: Option<u64>,
    called: u64,
    /// None if it is unknown whether it took effect.
    answered: Option<u64>,
}

#[derive(Debug, Default)]
struct Inner {
    order: u64,
    /// Since all agreed the last time.
    recent: Vec<Sight>,
    past: Vec<Sight>,
    first: BTreeMap<String, There>,
    /// The newest revision that each replica has shown.
    newest: [u64; 2],
}

/// All calls and answers, in order.
#[derive(Debug, Default)]
pub(crate) struct Sessions {
    inner: Mutex<Inner>,
    answers: watch::Sender<u64>,
}

/// A call in progress.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Called {
    at: u64,
    replica: usize,
    /// The newest revision that this replica had shown by then.
    pub(crate) floor: u64,
}

impl Sessions {
    pub(crate) fn call(&self, replica: usize) -> Called {
        let mut inner = self.inner.lock().expect("no panic");
        inner.order += 1;
        Called { at: inner.order, replica, floor: inner.newest[replica] }
    }

    /// A write was answered.
    pub(crate) fn wrote(&self, called: Called, name: &str, what: What, revision: Option<u64>) {
        self.add(called, name, what, revision, true, true);
        self.shown(called.replica, revision.unwrap_or(0));
        self.answers.send_modify(|answers| *answers += 1);
    }

    /// A write was cut off, or refused for now.
    pub(crate) fn in_doubt(&self, called: Called, name: &str, what: What) {
        self.add(called, name, what, None, true, false);
    }

    /// A read was answered.
    pub(crate) fn saw(&self, called: Called, name: &str, there: There, revision: Option<u64>) {
        self.add(called, name, What::Saw(there), revision, false, true);
    }

    /// A replica has shown this revision of all that it knows.
    pub(crate) fn shown(&self, replica: usize, revision: u64) {
        let mut inner = self.inner.lock().expect("no panic");
        inner.newest[replica] = inner.newest[replica].max(revision);
    }

    fn add(&self, called: Called, name: &str, what: What, revision: Option<u64>, writes: bool, is_answered: bool) {
        let mut inner = self.inner.lock().expect("no panic");
        inner.order += 1;
        let answered = is_answered.then_some(inner.order);
        let (replica, name) = (called.replica, name.to_owned());
        inner.recent.push(Sight { replica, name, what, writes, revision, called: called.at, answered });
    }

    /// Waits until there were so many more answers to writes.
    pub(crate) async fn answers(&self, more: u64) {
        let mut answers = self.answers.subscribe();
        let until = *answers.borrow() + more;
        answers.wait_for(|answers| *answers >= until).await.expect("it lives as long as this");
    }

    /// Judges the writes since the last time, whichever replica took them: they end with what both show now.
    pub(crate) fn settle(&self, shown: &BTreeMap<String, String>) {
        let mut inner = self.inner.lock().expect("no panic");
        let recent = std::mem::take(&mut inner.recent);
        let mut by_name: BTreeMap<&str, Vec<Op>> = BTreeMap::new();
        for sight in recent.iter().filter(|sight| sight.writes) {
            let Sight { replica, what, called, answered, .. } = sight.clone();
            by_name.entry(&sight.name).or_default().push(Op { client: replica, what, called, answered });
        }
        for (name, ops) in &mut by_name {
            let now = shown.get(*name).cloned();
            ops.push(Op { client: 2, what: What::Saw(now), called: inner.order + 1, answered: Some(inner.order + 2) });
            let first = inner.first.get(*name).cloned().flatten();
            if let Err(longest) = linearize(&first, ops) {
                panic!("{}", story(name, &first, ops, &longest));
            }
        }
        inner.first = shown.iter().map(|(name, value)| (name.clone(), Some(value.clone()))).collect();
        inner.order += 2;
        inner.past.extend(recent);
    }

    /// All that anybody was shown, in order of revisions.
    pub(crate) fn all_written(&self) -> Vec<Written> {
        let inner = self.inner.lock().expect("no panic");
        let written = |sight: &Sight| match &sight.what {
            What::Saw(Some(value)) => {
                Some(Written { revision: sight.revision?, name: sight.name.clone(), value: value.clone() })
            }
            _ => None,
        };
        let mut all: Vec<_> = inner.past.iter().filter_map(written).collect();
        all.sort_by_key(|written| written.revision);
        all
    }

    /// Judges what each replica showed. How much there was.
    pub(crate) fn judge(&self) -> usize {
        let inner = self.inner.lock().expect("no panic");
        let mut by_name: BTreeMap<&str, Vec<&Sight>> = BTreeMap::new();
        for sight in &inner.past {
            by_name.entry(&sight.name).or_default().push(sight);
        }
        for sights in by_name.values() {
            one_value_a_revision(sights);
            for replica in 0..2 {
                never_back(replica, sights);
            }
        }
        inner.past.len()
    }
}

/// Whichever replica shows it.
fn one_value_a_revision(sights: &[&Sight]) {
    let mut known: BTreeMap<u64, &Sight> = BTreeMap::new();
    for sight in sights {
        let (Some(revision), What::Saw(Some(_))) = (sight.revision, &sight.what) else { continue };
        let other = known.entry(revision).or_insert(sight);
        assert_eq!(other.what, sight.what, "{other:?} and {sight:?}");
    }
}

/// What one replica answered is there for whoever asks it next, and what was seen to be gone stays so until it is registered again.
fn never_back(replica: usize, sights: &[&Sight]) {
    let mut here: Vec<&Sight> =
        sights.iter().copied().filter(|sight| sight.replica == replica && sight.answered.is_some()).collect();
    here.sort_by_key(|sight| sight.answered);
    let mut before = here.clone().into_iter().peekable();
    here.sort_by_key(|sight| sight.called);
    let mut newest: Option<&Sight> = None;
    // When it was seen to be gone, and the newest revision that had been seen before.
    let mut gone: Vec<(Option<u64>, Option<u64>)> = Vec::new();
    for sight in here {
        while let Some(known) = before.next_if(|known| known.answered < Some(sight.called)) {
            if known.revision > newest.and_then(|newest| newest.revision) {
                newest = Some(known);
            }
        }
        let Some(newest) = newest else { continue };
        if sight.revision.is_some() {
            assert!(sight.revision >= newest.revision, "{sight:?} after {newest:?}");
            let back = gone.iter().find(|(at, last)| *at < Some(sight.called) && *last >= sight.revision);
            assert!(back.is_none(), "{sight:?} is back from the dead, gone at {back:?}");
        } else {
            assert!(what_removed_it(sight, newest, sights), "{sight:?} after {newest:?}: who removed it?");
            if gone.last().is_none_or(|(_, last)| *last < newest.revision) {
                gone.push((sight.answered, newest.revision));
            }
        }
    }
}

/// Whether some call, at whichever replica, explains that it was not there: one that was not over before what was there last was written. It
/// may have been over when that was seen here, since one replica hears later than the other what it did.
fn what_removed_it(sight: &Sight, newest: &Sight, sights: &[&Sight]) -> bool {
    let value = |sight: &Sight| match &sight.what {
        What::Put(value) | What::Saw(Some(value)) => Some(value.clone()),
        _ => None,
    };
    let there = value(newest);
    let written = sights.iter().filter(|sight| value(sight) == there).map(|sight| sight.called).min();
    sights.iter().any(|removal| {
        removal.what == What::Removed
            && Some(removal.called) <= sight.answered
            && removal.answered.is_none_or(|answered| Some(answered) > written)
    })
}
