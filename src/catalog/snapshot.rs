//! One immutable state of the catalog, and how the next is made from it.

use std::ops::Bound;
use std::sync::Arc;

use uuid::Uuid;

use super::entry::{Entry, Mark, WeakTag};
use super::epoch::Epoch;
use super::inline_key::InlineKey;
use crate::model::name::{MAX_LABEL, ServiceKey};
use crate::model::outcome::Health;
use crate::model::replica::Replica;
use crate::model::time::UnixMs;
use crate::model::tombstones::Tombstones;

/// Services by health, and instances.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Services with a healthy instance.
    pub healthy: usize,
    /// Services without a healthy instance and with an unhealthy one.
    pub unhealthy: usize,
    /// Services whose instances all have no check, on purpose.
    pub not_checked: usize,
    /// The others: not proved yet, or no longer.
    pub unknown: usize,
    /// Instances of all services.
    pub instances: usize,
}

impl Counts {
    /// All services.
    pub fn total(&self) -> usize {
        self.healthy + self.unhealthy + self.not_checked + self.unknown
    }

    /// The sum of both.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            healthy: self.healthy + other.healthy,
            unhealthy: self.unhealthy + other.unhealthy,
            not_checked: self.not_checked + other.not_checked,
            unknown: self.unknown + other.unknown,
            instances: self.instances + other.instances,
        }
    }

    fn slot(&mut self, entry: &Entry) -> &mut usize {
        match entry.health() {
            Health::Healthy => &mut self.healthy,
            Health::Unhealthy => &mut self.unhealthy,
            Health::Unknown if entry.service().is_unchecked() => &mut self.not_checked,
            Health::Unknown => &mut self.unknown,
        }
    }

    fn add(&mut self, entry: &Entry) {
        *self.slot(entry) += 1;
        self.instances += entry.service().instances.len();
    }

    fn take(&mut self, entry: &Entry) {
        *self.slot(entry) -= 1;
        self.instances -= entry.service().instances.len();
    }
}

/// Most removals that a mirror remembers. A watch that missed more starts with everything.
const REMOVALS: usize = 8192;

/// Position in the order of registration.
pub type Order = (UnixMs, Uuid);

/// A map with a fast hash, keyed at random, so that no client can choose names that collide.
type Map<K, V> = imbl::GenericHashMap<K, V, foldhash::quality::RandomState, imbl::shared_ptr::DefaultSharedPtr>;

/// Every service at one revision. Cloning is cheap: clones share what does not differ.
#[derive(Debug, Clone)]
pub struct Snapshot {
    epoch: Epoch,
    revision: u64,
    sequence: u64,
    replica: Option<Replica>,
    by_key: Map<InlineKey, Arc<Entry>>,
    // These two never change while a service exists, so a change of it changes one path in one map.
    by_id: Map<Uuid, InlineKey>,
    by_order: imbl::OrdMap<Order, InlineKey>,
    counts: imbl::OrdMap<String, Counts>,
    total: Counts,
    /// What was removed from a mirror, by sequence; the record itself keeps this in its file.
    removed: Tombstones<(ServiceKey, Uuid)>,
}

impl Snapshot {
    /// Without services.
    pub fn empty(epoch: Epoch, revision: u64) -> Self {
        Self {
            epoch,
            revision,
            sequence: revision,
            replica: None,
            by_key: Map::default(),
            by_id: Map::default(),
            by_order: imbl::OrdMap::new(),
            counts: imbl::OrdMap::new(),
            total: Counts::default(),
            removed: Tombstones::new(REMOVALS),
        }
    }

    /// Without services, for those of a cluster as `replica` sees them.
    pub fn mirror(epoch: Epoch, revision: u64, replica: Replica) -> Self {
        Self { sequence: 0, replica: Some(replica), ..Self::empty(epoch, revision) }
    }

    /// The line of revisions.
    pub fn epoch(&self) -> &Epoch {
        &self.epoch
    }

    /// The newest revision in it.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// Its position in this process's order of snapshots. Standalone it equals the revision.
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// Advances both; the writer calls it before it publishes. The sequence grows with every change, even if the revision stays.
    pub fn advance(&mut self, revision: u64, sequence: u64) {
        (self.revision, self.sequence) = (revision, sequence);
    }

    /// The [weak entity tag](WeakTag) of a list. A mirror's is the replica's own: changes of different objects may reach replicas in another
    /// order, so at one revision two of them need not hold the same. For `owners` see [`WeakTag::new`].
    pub fn tag(&self, owners: &str) -> WeakTag {
        WeakTag::new(&self.epoch, self.revision, self.mark(), owners)
    }

    /// Distinguishes a mirror's states, of which there may be several at one revision. None if this is not a mirror.
    pub fn mark(&self) -> Option<Mark> {
        self.replica.map(|replica| Mark { replica, sequence: self.sequence })
    }

    /// Notes that a service was removed from a mirror, at a sequence.
    pub fn note_removal(&mut self, sequence: u64, key: ServiceKey, id: Uuid) {
        self.removed.note((key, id), sequence);
    }

    /// What was removed from a mirror after a sequence; none where some of it is forgotten.
    pub fn removed_since(&self, sequence: u64) -> Option<Vec<(ServiceKey, Uuid)>> {
        self.removed.since(sequence)
    }

    /// By `namespace/name`.
    pub fn get(&self, key: &str) -> Option<&Arc<Entry>> {
        self.by_key.get(key.as_bytes())
    }

    /// By namespace and name without allocating. Labels have at most [`MAX_LABEL`] bytes, so longer texts name nothing.
    pub fn find(&self, namespace: &str, name: &str) -> Option<&Arc<Entry>> {
        let mut key = [0_u8; MAX_LABEL + 1 + MAX_LABEL];
        let (at, end) = (namespace.len(), namespace.len() + 1 + name.len());
        key.get_mut(..at)?.copy_from_slice(namespace.as_bytes());
        *key.get_mut(at)? = b'/';
        key.get_mut(at + 1..end)?.copy_from_slice(name.as_bytes());
        self.by_key.get(key.get(..end)?)
    }

    /// By id.
    pub fn by_id(&self, id: &Uuid) -> Option<&Arc<Entry>> {
        self.by_key.get(self.by_id.get(id)?)
    }

    /// Newest registration first; starts after `before` if that is given.
    pub fn newest_first(&self, before: Option<Order>) -> impl Iterator<Item = &Arc<Entry>> {
        let end = before.map_or(Bound::Unbounded, Bound::Excluded);
        self.by_order.range((Bound::Unbounded, end)).rev().filter_map(|(_, place)| self.by_key.get(place))
    }

    /// Counts over all namespaces.
    pub fn total(&self) -> Counts {
        self.total
    }

    /// Counts of one namespace.
    pub fn counts(&self, namespace: &str) -> Counts {
        self.counts.get(namespace).copied().unwrap_or_default()
    }

    /// Every namespace with a service, in order, with its counts.
    pub fn namespaces(&self) -> impl Iterator<Item = (&str, Counts)> {
        self.counts.iter().map(|(name, counts)| (name.as_str(), *counts))
    }

    /// The namespaces with a service called `name`, in order.
    pub fn namespaces_of<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.counts.keys().map(String::as_str).filter(move |ns| self.find(ns, name).is_some())
    }

    /// Adds or replaces a service.
    pub fn put(&mut self, entry: Arc<Entry>) {
        let (key, id, order) = (entry.service().key.clone(), entry.service().id, order(&entry));
        let place = InlineKey::from(&key);
        self.count(key.namespace(), |counts| counts.add(&entry));
        match self.by_key.insert(place.clone(), entry) {
            Some(old) if old.service().id == id => self.count(key.namespace(), |counts| counts.take(&old)),
            old => {
                if let Some(old) = old {
                    self.forget(&old);
                }
                self.by_id.insert(id, place.clone());
                self.by_order.insert(order, place);
            }
        }
    }

    /// Removes a service, and returns it.
    pub fn remove(&mut self, key: &ServiceKey) -> Option<Arc<Entry>> {
        let entry = self.by_key.remove(key.as_str().as_bytes())?;
        self.forget(&entry);
        Some(entry)
    }

    fn forget(&mut self, entry: &Entry) {
        self.by_id.remove(&entry.service().id);
        self.by_order.remove(&order(entry));
        let namespace = entry.service().key.namespace();
        self.count(namespace, |counts| counts.take(entry));
        if self.counts(namespace).total() == 0 {
            self.counts.remove(namespace);
        }
    }

    fn count(&mut self, namespace: &str, change: impl Fn(&mut Counts)) {
        change(&mut self.total);
        match self.counts.get_mut(namespace) {
            Some(counts) => change(counts),
            None => change(self.counts.entry(namespace.to_owned()).or_default()),
        }
    }
}

fn order(entry: &Entry) -> Order {
    (entry.service().registered_at, entry.service().id)
}
