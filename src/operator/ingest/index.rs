//! Every object that is known, and the rules by which news of them count. Pure.
//!
//! News come from the watch, from lists and from the answers to our own writes, in any order; resourceVersions grow over the whole cluster,
//! so the greatest one wins, and a uid that is gone never returns.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use uuid::Uuid;

use super::observed::ObservedObject;
use crate::model::mirror::{MirrorChange, Mirrored};
use crate::model::name::{Namespace, ServiceKey};
use crate::operator::read::ObjectId;

/// What one watch covers: a namespace, or all.
pub(crate) type Scope = Option<Namespace>;

/// Uids that are remembered as gone: as many as can be under way between a removal's answer and its echo in the watch.
const GONE: usize = 16 * 1024;

/// The objects.
#[derive(Debug)]
pub(super) struct Index {
    known: imbl::HashMap<ServiceKey, Arc<ObservedObject>>,
    gone: Gone,
    highest: u64,
    listings: HashMap<Scope, Listing>,
    unlisted: HashSet<Scope>,
}

/// A list under way.
#[derive(Debug)]
struct Listing {
    /// The highest revision that was known when it began; a list that ends below it tells of another history.
    began_at: u64,
    /// Every object in it.
    keys: HashSet<ServiceKey>,
    /// Those that differ from what is known.
    fresh: Vec<Arc<ObservedObject>>,
}

impl Index {
    /// Empty, complete once every scope was listed.
    pub(super) fn new(scopes: impl IntoIterator<Item = Scope>) -> Self {
        Self {
            known: imbl::HashMap::new(),
            gone: Gone::default(),
            highest: 0,
            listings: HashMap::new(),
            unlisted: scopes.into_iter().collect(),
        }
    }

    /// The objects now; cheap.
    pub(super) fn known(&self) -> imbl::HashMap<ServiceKey, Arc<ObservedObject>> {
        self.known.clone()
    }

    /// The highest revision seen.
    pub(super) fn highest(&self) -> u64 {
        self.highest
    }

    /// Whether every scope was listed once.
    pub(super) fn is_complete(&self) -> bool {
        self.unlisted.is_empty()
    }

    /// Every service that may be found.
    pub(super) fn mirrored(&self) -> Vec<Mirrored> {
        self.known.values().filter_map(|known| known.understood.mirrored.clone()).collect()
    }

    /// An object is there. None when that is no news.
    pub(super) fn put(&mut self, known: Arc<ObservedObject>) -> Option<MirrorChange> {
        let newer = self.known.get(known.key()).is_none_or(|old| old.revision() < known.revision());
        (newer && !self.gone.holds(known.id())).then(|| self.insert(known))
    }

    fn insert(&mut self, known: Arc<ObservedObject>) -> MirrorChange {
        self.highest = self.highest.max(known.revision());
        let change = match &known.understood.mirrored {
            Some(mirrored) => MirrorChange::Put(mirrored.clone()),
            None => removal(&known, known.revision()),
        };
        self.known.insert(known.key().clone(), known);
        change
    }

    /// An object is gone. None when that is no news.
    pub(super) fn remove(&mut self, key: &ServiceKey, id: Uuid, revision: u64) -> Option<MirrorChange> {
        if self.gone.holds(id) {
            return None;
        }
        self.gone.add(id);
        self.highest = self.highest.max(revision);
        if self.known.get(key).is_some_and(|known| known.id() != id) {
            return None;
        }
        self.known.remove(key);
        // Also of one that was not known: the mirror's file may hold it.
        Some(MirrorChange::Remove { key: key.clone(), id, revision })
    }

    /// A list of `scope` begins; an unfinished one is forgotten.
    pub(super) fn begin(&mut self, scope: Scope) {
        let listing = Listing { began_at: self.highest, keys: HashSet::new(), fresh: Vec::new() };
        self.listings.insert(scope, listing);
    }

    /// Whether a listed object is known as it is; if so it is noted as there.
    pub(super) fn is_listed_as_known(&mut self, scope: &Scope, place: &ObjectId) -> bool {
        let is_same = |known: &Arc<ObservedObject>| (known.id(), known.revision()) == (place.id, place.revision);
        let same = self.known.get(&place.key).is_some_and(is_same);
        if let (true, Some(listing)) = (same, self.listings.get_mut(scope)) {
            listing.keys.insert(place.key.clone());
        }
        same
    }

    /// One object of a list.
    pub(super) fn listed(&mut self, scope: &Scope, known: Arc<ObservedObject>) {
        if let Some(listing) = self.listings.get_mut(scope) {
            listing.keys.insert(known.key().clone());
            listing.fresh.push(known);
        }
    }

    /// A list at `revision` is complete: what it lacks is gone, unless that came later.
    pub(super) fn end(&mut self, scope: &Scope, revision: u64) {
        let Some(listing) = self.listings.remove(scope) else { return };
        let rewound = revision < listing.began_at;
        let within = |key: &ServiceKey| scope.as_ref().is_none_or(|namespace| namespace.as_str() == key.namespace());
        self.known.retain(|key, known| {
            !within(key) || listing.keys.contains(key) || (known.revision() > revision && !rewound)
        });
        if rewound {
            tracing::warn!(
                revision,
                known = listing.began_at,
                "the Kubernetes API's history went back, as after a restore: delete Portolan's pods, so that their mirrors begin anew"
            );
            self.gone = Gone::default();
            self.highest = 0;
            listing.fresh.into_iter().for_each(|known| drop(self.insert(known)));
        } else {
            listing.fresh.into_iter().for_each(|known| drop(self.put(known)));
        }
        self.highest = self.highest.max(revision);
        self.unlisted.remove(scope);
    }
}

fn removal(known: &ObservedObject, revision: u64) -> MirrorChange {
    MirrorChange::Remove { key: known.key().clone(), id: known.id(), revision }
}

/// The latest uids that are gone.
#[derive(Debug, Default)]
struct Gone {
    ids: HashSet<Uuid>,
    order: VecDeque<Uuid>,
}

impl Gone {
    fn holds(&self, id: Uuid) -> bool {
        self.ids.contains(&id)
    }

    fn add(&mut self, id: Uuid) {
        if self.order.len() == GONE
            && let Some(oldest) = self.order.pop_front()
        {
            self.ids.remove(&oldest);
        }
        self.ids.insert(id);
        self.order.push_back(id);
    }
}
