//! What all clients did and saw, in one order of calls and answers.

use std::collections::BTreeMap;
use std::sync::Mutex;

use tokio::sync::watch;

use super::check::{Op, There, What, Written, linearize, story};

/// A call that is under way.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Called {
    at: u64,
    /// The newest revision that anybody had been shown by then.
    pub(crate) floor: u64,
}

#[derive(Debug, Default)]
struct Inner {
    order: u64,
    newest: u64,
    ops: BTreeMap<String, Vec<Op>>,
    written: Vec<Written>,
}

/// Shared by all clients.
#[derive(Debug, Default)]
pub(crate) struct Record {
    inner: Mutex<Inner>,
    answers: watch::Sender<u64>,
}

impl Record {
    pub(crate) fn call(&self) -> Called {
        let mut inner = self.inner.lock().expect("no panic");
        inner.order += 1;
        Called { at: inner.order, floor: inner.newest }
    }

    /// Nobody will know whether it took effect.
    pub(crate) fn cut_off(&self, client: usize, name: &str, what: What, called: Called) {
        self.add(client, name, what, called, false);
    }

    /// One answer about one name or several; all of it was seen at one moment.
    pub(crate) fn answer(&self, client: usize, seen: &[(&str, What)], called: Called, revision: Option<u64>) {
        for (name, what) in seen {
            self.add(client, name, what.clone(), called, true);
        }
        self.show(revision);
        self.answers.send_modify(|answers| *answers += 1);
    }

    /// A registration of `value` was acknowledged, with what the name shows `now`.
    pub(crate) fn written(&self, client: usize, value: String, now: Written, called: Called) {
        let (put, saw) = (What::Put(value), What::Saw(Some(now.value.clone())));
        self.answer(client, &[(&now.name, put), (&now.name, saw)], called, Some(now.revision));
        self.inner.lock().expect("no panic").written.push(now);
    }

    /// Somebody has been shown this revision.
    pub(crate) fn show(&self, revision: Option<u64>) {
        let mut inner = self.inner.lock().expect("no panic");
        inner.newest = inner.newest.max(revision.unwrap_or(0));
    }

    /// Waits until there were so many more answers.
    pub(crate) async fn answers(&self, more: u64) {
        let mut answers = self.answers.subscribe();
        let until = *answers.borrow() + more;
        answers.wait_for(|answers| *answers >= until).await.expect("it lives as long as this");
    }

    fn add(&self, client: usize, name: &str, what: What, called: Called, is_answered: bool) {
        let mut inner = self.inner.lock().expect("no panic");
        inner.order += 1;
        let answered = is_answered.then_some(inner.order);
        let op = Op { client, what, called: called.at, answered };
        inner.ops.entry(name.to_owned()).or_default().push(op);
    }

    /// All acknowledged registrations until now, in order of their revisions.
    pub(crate) fn all_written(&self) -> Vec<Written> {
        let mut written = self.inner.lock().expect("no panic").written.clone();
        written.sort_by_key(|written| written.revision);
        written
    }

    /// Checks what was done to each name since the last time, beginning with `first`, and forgets it. How many operations there were.
    ///
    /// # Panics
    /// When no order of them makes sense.
    pub(crate) fn settle(&self, first: &BTreeMap<String, There>) -> usize {
        let ops = std::mem::take(&mut self.inner.lock().expect("no panic").ops);
        for (name, ops) in &ops {
            let first = first.get(name).cloned().flatten();
            if let Err(longest) = linearize(&first, ops) {
                panic!("{}", story(name, &first, ops, &longest));
            }
        }
        ops.values().map(Vec::len).sum()
    }
}
