//! Every known object, and the rules that decide whether news about it is newer. Pure.
//!
//! News comes from the watch, from lists and from the answers to our own writes, in any order. resourceVersions grow over the whole
//! cluster, so the greatest one wins, and a uid that was removed never returns.
//!
//! The store judges the same news again (`store/rules/mirror.rs`), because the two know different things. This index is empty at the
//! start, identifies objects by uid, and also keeps those that are not valid services, whose status is written. The store starts from
//! an earlier run's file, identifies services by name, and also refuses what would undo a verdict of this replica.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use uuid::Uuid;

use super::observed::ObservedObject;
use crate::model::mirror::{MirrorChange, Mirrored};
use crate::model::name::{Namespace, ServiceKey};
use crate::model::tombstones::Tombstones;
use crate::operator::endpoints::ObjectName;
use crate::operator::read::ObjectId;

/// What one watch covers: a namespace, or all.
pub(crate) type Scope = Option<Namespace>;

/// Uids that are remembered as removed: as many as can be on their way between a removal's answer and its echo in the watch.
const TOMBSTONES: usize = 16 * 1024;

/// The objects.
#[derive(Debug)]
pub(super) struct Index {
    /// The watched ones.
    objects: imbl::HashMap<ServiceKey, Arc<ObservedObject>>,
    /// Those of namespaces that are not watched now, which nothing else sees.
    aside: imbl::HashMap<ServiceKey, Arc<ObservedObject>>,
    /// The objects that adopt the endpoints of a core Service.
    adopters: HashMap<ObjectName, BTreeSet<ServiceKey>>,
    removed: Tombstones<Uuid>,
    highest: u64,
    listings: HashMap<Scope, Listing>,
    unlisted: HashSet<Scope>,
}

/// A list in progress.
#[derive(Debug)]
struct Listing {
    /// The highest revision when it began; a list that ends below it belongs to another history.
    began_at: u64,
    /// Every object in it.
    keys: HashSet<ServiceKey>,
    /// Those that differ from what was known.
    fresh: Vec<Arc<ObservedObject>>,
}

impl Index {
    /// Empty; complete once every scope was listed.
    pub(super) fn new(scopes: impl IntoIterator<Item = Scope>) -> Self {
        Self {
            objects: imbl::HashMap::new(),
            aside: imbl::HashMap::new(),
            adopters: HashMap::new(),
            removed: Tombstones::new(TOMBSTONES),
            highest: 0,
            listings: HashMap::new(),
            unlisted: scopes.into_iter().collect(),
        }
    }

    /// The objects now; cheap.
    pub(super) fn objects(&self) -> imbl::HashMap<ServiceKey, Arc<ObservedObject>> {
        self.objects.clone()
    }

    /// The objects that are not watched now; cheap.
    pub(super) fn aside(&self) -> imbl::HashMap<ServiceKey, Arc<ObservedObject>> {
        self.aside.clone()
    }

    /// The highest revision seen.
    pub(super) fn highest(&self) -> u64 {
        self.highest
    }

    /// Whether every scope was listed.
    pub(super) fn is_complete(&self) -> bool {
        self.unlisted.is_empty()
    }

    /// Every service that discovery may return.
    pub(super) fn mirrored(&self) -> Vec<Mirrored> {
        self.objects.values().filter_map(|observed| observed.parsed.mirrored.clone()).collect()
    }

    /// The objects whose endpoints are not known yet.
    pub(super) fn awaiting(&self) -> HashSet<ServiceKey> {
        let keys = self.adopters.values().flatten();
        keys.filter(|key| self.objects.get(*key).is_some_and(|observed| observed.parsed.is_awaiting()))
            .cloned()
            .collect()
    }

    /// Adds an object. None if it is not news.
    pub(super) fn put(&mut self, observed: Arc<ObservedObject>) -> Option<MirrorChange> {
        let newer = self.get(observed.key()).is_none_or(|old| old.revision() < observed.revision());
        (newer && self.removed.order(&observed.id()).is_none()).then(|| self.insert(observed)).flatten()
    }

    /// Replaces the known version of an object by the same with other endpoints.
    pub(super) fn replace(&mut self, observed: Arc<ObservedObject>) -> Option<MirrorChange> {
        self.insert(observed)
    }

    /// The objects that adopt the endpoints of the core Service, or of any.
    pub(super) fn adopters(&self, service: Option<&ObjectName>) -> Vec<ServiceKey> {
        match service {
            Some(service) => self.adopters.get(service).into_iter().flatten().cloned().collect(),
            None => self.adopters.values().flatten().cloned().collect(),
        }
    }

    /// The newest version of an object, whether watched or not.
    pub(super) fn get(&self, key: &ServiceKey) -> Option<&Arc<ObservedObject>> {
        self.objects.get(key).or_else(|| self.aside.get(key))
    }

    /// The objects of these namespaces, whether watched or not.
    pub(super) fn of_namespaces(&self, namespaces: &HashSet<String>) -> Vec<ServiceKey> {
        let keys = self.objects.keys().chain(self.aside.keys());
        keys.filter(|key| namespaces.contains(key.namespace())).cloned().collect()
    }

    /// Inserts it. None if the catalog keeps what it has until the endpoints are known.
    fn insert(&mut self, observed: Arc<ObservedObject>) -> Option<MirrorChange> {
        self.highest = self.highest.max(observed.effective());
        if !observed.is_watched() {
            return self.set_aside(observed);
        }
        self.aside.remove(observed.key());
        let change = match &observed.parsed.mirrored {
            Some(mirrored) => Some(MirrorChange::Put(mirrored.clone())),
            None if observed.parsed.is_awaiting() => None,
            None => Some(removal(&observed, observed.effective())),
        };
        let (key, from) = (observed.key().clone(), observed.adopts_from());
        let before = self.objects.insert(key.clone(), observed);
        let left = before.and_then(|before| before.adopts_from()).filter(|left| Some(left) != from.as_ref());
        if let Some(left) = left {
            self.adopts_no_more(&left, &key);
        }
        if let Some(from) = from {
            self.adopters.entry(from).or_default().insert(key);
        }
        change
    }

    /// Keeps an object that is not watched. None if it was not watched before either.
    fn set_aside(&mut self, observed: Arc<ObservedObject>) -> Option<MirrorChange> {
        let key = observed.key().clone();
        let change = removal(&observed, observed.effective());
        self.aside.insert(key.clone(), observed);
        let before = self.objects.remove(&key)?;
        if let Some(from) = before.adopts_from() {
            self.adopts_no_more(&from, &key);
        }
        Some(change)
    }

    fn adopts_no_more(&mut self, service: &ObjectName, key: &ServiceKey) {
        if let Some(keys) = self.adopters.get_mut(service) {
            keys.remove(key);
            if keys.is_empty() {
                self.adopters.remove(service);
            }
        }
    }

    /// Removes an object. None if that is not news.
    pub(super) fn remove(&mut self, key: &ServiceKey, id: Uuid, revision: u64) -> Option<MirrorChange> {
        if self.removed.order(&id).is_some() {
            return None;
        }
        self.removed.note(id, revision);
        self.highest = self.highest.max(revision);
        if self.get(key).is_some_and(|observed| observed.id() != id) {
            return None;
        }
        let before = self.objects.remove(key).or_else(|| self.aside.remove(key));
        if let Some(from) = before.as_ref().and_then(|before| before.adopts_from()) {
            self.adopts_no_more(&from, key);
        }
        // Its endpoints may be newer than its removal.
        let revision = before.map_or(revision, |before| before.effective().max(revision));
        // Even if it was unknown: the mirror's file may hold it.
        Some(MirrorChange::Remove { key: key.clone(), id, revision })
    }

    /// Begins a list of `scope`; an unfinished one is dropped.
    pub(super) fn begin(&mut self, scope: Scope) {
        let listing = Listing { began_at: self.highest, keys: HashSet::new(), fresh: Vec::new() };
        self.listings.insert(scope, listing);
    }

    /// Whether the index already has a listed object in that version; if so, the list keeps it.
    pub(super) fn is_listed_as_known(&mut self, scope: &Scope, id: &ObjectId) -> bool {
        let is_same = |observed: &Arc<ObservedObject>| (observed.id(), observed.revision()) == (id.id, id.revision);
        let same = self.get(&id.key).is_some_and(is_same);
        if let (true, Some(listing)) = (same, self.listings.get_mut(scope)) {
            listing.keys.insert(id.key.clone());
        }
        same
    }

    /// Adds an object of a list.
    pub(super) fn listed(&mut self, scope: &Scope, observed: Arc<ObservedObject>) {
        if let Some(listing) = self.listings.get_mut(scope) {
            listing.keys.insert(observed.key().clone());
            listing.fresh.push(observed);
        }
    }

    /// Ends a list at `revision`: what it lacks was removed, unless it is newer. Which objects these are.
    pub(super) fn end(&mut self, scope: &Scope, revision: u64) -> Vec<ServiceKey> {
        let Some(listing) = self.listings.remove(scope) else { return Vec::new() };
        let rewound = revision < listing.began_at;
        let within = |key: &ServiceKey| scope.as_ref().is_none_or(|namespace| namespace.as_str() == key.namespace());
        let keeps = |key: &ServiceKey, observed: &ObservedObject| {
            !within(key) || listing.keys.contains(key) || (observed.revision() > revision && !rewound)
        };
        let mut removed = Vec::new();
        self.objects.retain(|key, observed| {
            let stays = keeps(key, observed);
            if !stays {
                removed.push(key.clone());
            }
            stays
        });
        self.aside.retain(|key, observed| keeps(key, observed));
        let objects = &self.objects;
        self.adopters.retain(|_, keys| {
            keys.retain(|key| objects.contains_key(key));
            !keys.is_empty()
        });
        if rewound {
            tracing::warn!(
                revision,
                known = listing.began_at,
                "the Kubernetes API's history went back, as after a restore: delete Portolan's pods, so that they create new mirrors"
            );
            self.removed = Tombstones::new(TOMBSTONES);
            self.highest = 0;
            listing.fresh.into_iter().for_each(|observed| drop(self.insert(observed)));
        } else {
            listing.fresh.into_iter().for_each(|observed| drop(self.put(observed)));
        }
        self.highest = self.highest.max(revision);
        self.unlisted.remove(scope);
        removed
    }
}

fn removal(observed: &ObservedObject, revision: u64) -> MirrorChange {
    MirrorChange::Remove { key: observed.key().clone(), id: observed.id(), revision }
}
