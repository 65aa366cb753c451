//! The objects that publish: for which core Service, and with which host names.

use std::collections::{HashMap, HashSet};
use std::time::Instant;

use super::names::Names;
use super::plan::Lookup;
use super::view::ObjectName;
use crate::model::name::ServiceKey;
use crate::model::service::Service;
use crate::model::url::Host;

/// An object that publishes.
struct Entry {
    /// Its core Service.
    target: ObjectName,
    /// The host names of its instances.
    names: HashSet<String>,
}

/// All of them, and what their names resolve to.
pub(super) struct Tracked {
    names: Names,
    entries: HashMap<ServiceKey, Entry>,
    /// Who publishes for a core Service.
    by_target: HashMap<ObjectName, HashSet<ServiceKey>>,
}

impl Tracked {
    pub(super) fn new(names: Names) -> Self {
        Self { names, entries: HashMap::new(), by_target: HashMap::new() }
    }

    /// The object publishes the instances of `service` for the core Service `target`.
    pub(super) fn set(&mut self, key: &ServiceKey, target: &str, service: Option<&Service>, now: Instant) {
        let target = (key.namespace().to_owned(), target.to_owned());
        let instances = service.iter().flat_map(|service| &service.instances);
        let names: HashSet<String> = instances
            .filter_map(|instance| match instance.spec.base_url.host() {
                Host::Name(name) => Some(name.clone()),
                Host::Ip(_) => None,
            })
            .collect();
        let before = self.entries.get(key);
        if before.is_some_and(|before| before.target == target && before.names == names) {
            return;
        }
        let none = HashSet::new();
        self.names.set(key, before.map_or(&none, |before| &before.names), &names, now);
        if let Some(before) = before {
            drop_key(&mut self.by_target, &before.target, key);
        }
        self.by_target.entry(target.clone()).or_default().insert(key.clone());
        self.entries.insert(key.clone(), Entry { target, names });
    }

    /// The object publishes no more.
    pub(super) fn remove(&mut self, key: &ServiceKey, now: Instant) {
        if let Some(entry) = self.entries.remove(key) {
            self.names.set(key, &entry.names, &HashSet::new(), now);
            drop_key(&mut self.by_target, &entry.target, key);
        }
    }

    pub(super) fn contains(&self, key: &ServiceKey) -> bool {
        self.entries.contains_key(key)
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = &ServiceKey> {
        self.entries.keys()
    }

    /// Who publishes for the core Service.
    pub(super) fn publishing_for(&self, target: &ObjectName) -> impl Iterator<Item = &ServiceKey> {
        self.by_target.get(target).into_iter().flatten()
    }

    /// What is known of a host name.
    pub(super) fn lookup(&self, name: &str) -> Lookup {
        self.names.get(name)
    }

    /// Starts the lookups that are due.
    pub(super) fn start_lookups(&mut self, now: Instant) {
        self.names.start(now);
    }

    /// When the next lookup is due.
    pub(super) fn next_lookup(&self) -> Option<Instant> {
        self.names.next_due()
    }

    /// Waits for the next answer, if there are lookups: the objects that it changes something for. Cancel safe.
    pub(super) async fn resolved(&mut self) -> Option<Vec<ServiceKey>> {
        self.names.changed().await
    }
}

fn drop_key(index: &mut HashMap<ObjectName, HashSet<ServiceKey>>, target: &ObjectName, key: &ServiceKey) {
    if let Some(keys) = index.get_mut(target) {
        keys.remove(key);
        if keys.is_empty() {
            index.remove(target);
        }
    }
}
