//! How far the watches have come. Pure.
//!
//! Of several watches, an open one that is silent has nothing to deliver, so any revision that another one has delivered counts for it, too.
//! Of a watch that is broken, only its own counts.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

use super::index::Scope;
use crate::model::name::{Namespace, ServiceKey};

/// How long a watch has to be open until it counts as up to date: it first delivers what it missed.
const SETTLING: Duration = Duration::from_millis(100);

/// The progress of every watch.
#[derive(Debug)]
pub(super) struct Progress {
    /// By namespace; empty for the watch of all.
    watches: HashMap<String, Watched>,
}

#[derive(Debug, Default)]
struct Watched {
    /// What it has delivered; the answers to our own writes may be ahead of it.
    revision: u64,
    opened_at: Option<Instant>,
}

impl Progress {
    /// Nothing yet, and no watch is open.
    pub(super) fn new(scopes: &[Scope]) -> Self {
        Self { watches: scopes.iter().map(|scope| (name_of(scope).to_owned(), Watched::default())).collect() }
    }

    /// The watch of `scope` has delivered everything up to `revision`.
    pub(super) fn passed(&mut self, scope: &Scope, revision: u64) {
        self.pass(name_of(scope), revision);
    }

    /// The watch that covers `key` has delivered everything up to `revision`.
    pub(super) fn passed_object(&mut self, key: &ServiceKey, revision: u64) {
        let name = if self.watches.contains_key("") { "" } else { key.namespace() };
        self.pass(name, revision);
    }

    fn pass(&mut self, name: &str, revision: u64) {
        if let Some(watched) = self.watches.get_mut(name) {
            watched.revision = watched.revision.max(revision);
        }
    }

    /// A list of `scope` ended at `revision`. `highest` is the highest revision of all since then: lower than before if the Kubernetes API's
    /// history was set back.
    pub(super) fn listed(&mut self, scope: &Scope, revision: u64, highest: u64) {
        for watched in self.watches.values_mut() {
            watched.revision = watched.revision.min(highest);
        }
        self.passed(scope, revision);
    }

    /// The watch of `scope` is open.
    pub(super) fn opened(&mut self, scope: &Scope, now: Instant) {
        self.set_opened(scope, Some(now));
    }

    /// The watch of `scope` broke, or could not be opened.
    pub(super) fn broke(&mut self, scope: &Scope) {
        self.set_opened(scope, None);
    }

    fn set_opened(&mut self, scope: &Scope, opened_at: Option<Instant>) {
        if let Some(watched) = self.watches.get_mut(name_of(scope)) {
            watched.opened_at = opened_at;
        }
    }

    /// Up to which revision everything is known.
    pub(super) fn known(&self, now: Instant) -> u64 {
        let is_behind = |watched: &&Watched| watched.opened_at.is_none_or(|at| now < at + SETTLING);
        let behind = self.watches.values().filter(is_behind).map(|watched| watched.revision).min();
        let farthest = || self.watches.values().map(|watched| watched.revision).max();
        behind.or_else(farthest).unwrap_or_default()
    }
}

fn name_of(scope: &Scope) -> &str {
    scope.as_ref().map_or("", Namespace::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn namespace(name: &str) -> Namespace {
        name.parse().expect("a namespace")
    }

    fn key(name: &str) -> ServiceKey {
        ServiceKey::new(&namespace(name), &"cart".parse().expect("a name"))
    }

    #[test]
    fn only_its_own_revisions_count_for_a_watch_that_is_broken() {
        let (a, b, now) = (Some(namespace("a")), Some(namespace("b")), Instant::now());
        let mut progress = Progress::new(&[a.clone(), b.clone()]);
        for scope in [&a, &b] {
            progress.listed(scope, 10, 10);
            progress.opened(scope, now);
        }
        let later = now + SETTLING;
        progress.passed(&a, 15);
        assert_eq!(progress.known(later), 15, "b has nothing to deliver");
        progress.broke(&b);
        progress.passed(&a, 20);
        progress.passed_object(&key("a"), 21);
        assert_eq!(progress.known(later), 10);
        progress.opened(&b, later);
        assert_eq!(progress.known(later), 10, "it has not delivered what it missed");
        progress.passed_object(&key("b"), 18);
        assert_eq!((progress.known(later), progress.known(later + SETTLING)), (18, 21));
    }

    #[test]
    fn a_single_watch_has_come_as_far_as_its_news_whether_open_or_not() {
        let (all, now) = (None, Instant::now());
        let mut progress = Progress::new(std::slice::from_ref(&all));
        progress.listed(&all, 10, 10);
        assert_eq!(progress.known(now), 10);
        progress.opened(&all, now);
        progress.passed_object(&key("a"), 12);
        progress.passed(&all, 11);
        assert_eq!(progress.known(now), 12);
        progress.listed(&all, 5, 5);
        assert_eq!(progress.known(now), 5, "the history was set back");
    }
}
