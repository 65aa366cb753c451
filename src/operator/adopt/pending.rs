//! Which objects have to be compared with the labels: only those affected by a change. Pure; the caller passes the time.

use std::collections::HashSet;
use std::time::Instant;

use super::labels::{Change, Concerned, Finding, Labels};
use crate::model::name::{Namespace, ServiceKey};
use crate::operator::endpoints::CoreService;
use crate::operator::ingest::Objects;
use crate::operator::kubernetes::follow::News;
use crate::operator::queue::PausingQueue;

/// The labels, and the objects to compare with them; bounded by the number of objects and core Services.
pub(super) struct Pending {
    labels: Labels,
    queue: PausingQueue,
    /// Core Services whose name another object has, as last reported.
    taken: HashSet<ServiceKey>,
    /// Whether all objects have to be compared.
    everyone: bool,
}

/// What a comparison found.
#[derive(Debug, PartialEq)]
pub(super) enum Next {
    /// A write.
    Write(Change),
    /// An adopted core Service has the name of this object, which was not reported yet.
    Taken(ServiceKey),
}

impl Pending {
    /// For the `watched` namespaces, none for all.
    pub(super) fn new(watched: Vec<Namespace>) -> Self {
        Self { labels: Labels::new(watched), queue: PausingQueue::default(), taken: HashSet::new(), everyone: false }
    }

    /// Takes in news of core Services.
    pub(super) fn services(&mut self, news: &News<CoreService>) {
        let concerned = self.labels.services(news);
        self.concern(concerned);
    }

    /// Takes in news of the namespaces with the label.
    pub(super) fn namespaces(&mut self, news: News<String>) {
        let concerned = self.labels.namespaces(news);
        self.concern(concerned);
    }

    /// Namespaces may not be listed. True if this install can do without their labels.
    pub(super) fn namespaces_refused(&mut self, now: Instant) -> bool {
        self.labels.namespaces_refused(now)
    }

    fn concern(&mut self, concerned: Concerned) {
        match concerned {
            Concerned::Objects(keys) => self.mark(&keys),
            Concerned::Everyone => self.mark_all(),
        }
    }

    /// These objects changed.
    pub(super) fn mark<'a>(&mut self, keys: impl IntoIterator<Item = &'a ServiceKey>) {
        for key in keys {
            self.queue.push(key, false);
        }
    }

    /// All objects have to be compared.
    pub(super) fn mark_all(&mut self) {
        self.everyone = true;
    }

    /// A write of the object failed: it waits, and is compared again.
    pub(super) fn failed(&mut self, key: &ServiceKey, now: Instant) {
        self.queue.failed(key, now);
        self.queue.push(key, false);
    }

    /// A write of the object ended well: it is compared again, since it may have changed meanwhile.
    pub(super) fn written(&mut self, key: &ServiceKey) {
        self.queue.succeeded(key);
        self.queue.push(key, false);
    }

    /// Forgets what is to be compared: another replica leads.
    pub(super) fn clear(&mut self) {
        self.queue.clear();
        self.everyone = false;
    }

    /// Compares objects until one needs something; none when all are as they should be, or while not everything was listed.
    pub(super) fn next(&mut self, objects: &Objects, now: Instant) -> Option<Next> {
        if self.labels.gives_up_namespaces(now) {
            self.mark_all();
        }
        if !self.labels.is_complete() {
            return None;
        }
        if std::mem::take(&mut self.everyone) {
            let adopted = objects.iter().filter(|(_, known)| known.adopted_for().is_some()).map(|(key, _)| key.clone());
            let taken = self.taken.iter().cloned();
            let all: Vec<ServiceKey> = self.labels.keys().chain(adopted).chain(taken).collect();
            self.mark(&all);
        }
        while let Some(key) = self.queue.pop(now) {
            let finding = self.labels.compare(&key, objects.get(&key).map(|known| &**known));
            if finding == Finding::Taken {
                if self.taken.insert(key.clone()) {
                    return Some(Next::Taken(key));
                }
            } else {
                self.taken.remove(&key);
            }
            match finding {
                Finding::Differs(change) => return Some(Next::Write(change)),
                Finding::Fits | Finding::Taken => self.queue.succeeded(&key),
            }
        }
        None
    }
}

#[cfg(test)]
mod tests;
