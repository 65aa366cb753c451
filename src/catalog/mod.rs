//! The read model: every service with its health and its rendered JSON, at one revision.
//!
//! In: the next [`Snapshot`] and the [`Batch`] of what differs, from the store's writer. Out: snapshots for readers, and the feed of batches.
//!
//! A snapshot never changes. The writer makes the next one from it, publishes it in the [`Catalog`] with one atomic swap, and then sends the
//! batch on the feed. Reads never touch SQLite. Old states live as long as a reader holds them, so both are bounded in bytes: the feed keeps
//! a few megabytes of batches, and a [`Pin`] tells a slow reader when to let go.
//!
//! 1. [`snapshot`]: one state. [`entry`]: one service in it. [`accrual`]: for how long it was up or down. [`inline_key`]: a key of its map. [`epoch`]: its line of
//!    revisions.
//! 2. [`render`]: a service as JSON.
//! 3. [`feed`]: the batches. [`pin`]: how long a reader may hold an old state.

pub mod accrual;
pub mod entry;
mod epoch;
pub mod feed;
mod inline_key;
pub mod pin;
pub mod render;
pub mod snapshot;

use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;

pub use accrual::Accrual;
pub use entry::{Entry, LastCheck, Mark, WeakTag};
pub use epoch::Epoch;
pub use feed::{Batch, Feed, FeedError};
pub use pin::Pin;
pub use snapshot::{Counts, Snapshot};

/// Batches that a reader of the feed may lag behind before it has to take a snapshot again.
const FEED_CAPACITY: usize = 1024;
/// Bytes that those batches may keep in memory, besides the newest one.
const FEED_BYTES: usize = 8 << 20;

/// The current snapshot, and the feed of its changes.
#[derive(Debug)]
pub struct Catalog {
    current: ArcSwap<Snapshot>,
    feed: tokio::sync::broadcast::Sender<feed::Sent>,
    /// Used only by the writer.
    recent: Mutex<feed::RecentBatches>,
    superseded: pin::Superseded,
    /// In cluster mode: the newest revision of the Kubernetes API's watch that the current snapshot includes.
    watch_revision: tokio::sync::watch::Sender<u64>,
}

impl Catalog {
    /// A catalog that starts with what the store loaded.
    pub fn new(first: Snapshot) -> Self {
        let (feed, _) = tokio::sync::broadcast::channel(FEED_CAPACITY);
        Self {
            current: ArcSwap::from_pointee(first),
            feed,
            recent: Mutex::default(),
            superseded: pin::Superseded::default(),
            watch_revision: tokio::sync::watch::Sender::default(),
        }
    }

    /// The current snapshot, for a short read.
    pub fn read(&self) -> arc_swap::Guard<Arc<Snapshot>> {
        self.current.load()
    }

    /// The current snapshot, to keep.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.current.load_full()
    }

    /// A snapshot, and every batch after it.
    pub fn subscribe(&self) -> (Arc<Snapshot>, Feed) {
        // Subscribed first: a batch published in between is in both, and the feed skips it by its sequence.
        let receiver = self.feed.subscribe();
        let snapshot = self.snapshot();
        let feed = Feed::new(receiver, snapshot.sequence());
        (snapshot, feed)
    }

    /// For a reader that holds on to the current snapshot.
    pub fn pin(&self) -> Pin {
        self.superseded.pin()
    }

    /// How far the watch has come, in cluster mode: the current snapshot includes everything up to that revision. If several namespaces are
    /// watched, what an open watch has yet to deliver may be missing, but nothing of a watch that is broken.
    pub fn watch_revision(&self) -> tokio::sync::watch::Receiver<u64> {
        self.watch_revision.subscribe()
    }

    /// Announces that the current snapshot includes what the watch delivered up to `revision`.
    pub fn advance_watch(&self, revision: u64) {
        self.watch_revision.send_if_modified(|watch_revision| std::mem::replace(watch_revision, revision) != revision);
    }

    /// Publishes `next`, then sends `batch` on the feed. Only the store's writer calls this, after its commit.
    pub fn publish(&self, next: Snapshot, batch: Batch) {
        let before = self.current.swap(Arc::new(next));
        let replaced = self.count_replaced(&before, &batch);
        drop(before);
        let sent = self.recent.lock().unwrap_or_else(PoisonError::into_inner).keep(batch, FEED_CAPACITY, FEED_BYTES);
        // What neither a reader nor the feed holds goes now.
        for entry in replaced.into_iter().filter(|entry| Arc::strong_count(entry) > 1) {
            entry.hold(self.superseded.hold(entry.weight()));
        }
        // No receiver is fine: nobody is listening yet.
        let _ = self.feed.send(sent);
    }

    /// Counts what `batch` replaced in `before`, and returns it.
    fn count_replaced(&self, before: &Snapshot, batch: &Batch) -> Vec<Arc<Entry>> {
        let upserts = batch.upserts.iter().map(|entry| (&entry.service().key, Some(entry)));
        let changes = upserts.chain(batch.removed.iter().map(|(key, _)| (key, None)));
        let old = changes.filter_map(|(key, new)| {
            let old = before.get(key.as_str());
            self.superseded.add(old.map_or(0, |old| old.weight()));
            old.filter(|old| new.is_none_or(|new| !Arc::ptr_eq(old, new)))
        });
        old.cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::outcome::{Health, Reason};
    use crate::model::service::{Instance, InstanceSpec, Service};

    /// A service of that name which weighs more than a third of the bound.
    fn large(name: &str) -> Arc<Entry> {
        let bytes = usize::try_from(pin::MAX_PINNED / 6).expect("small") + 1;
        let spec = InstanceSpec { description: "x".repeat(bytes), ..InstanceSpec::sample("http://h") };
        let instance = Instance::sample("default", spec, (Health::Healthy, Reason::Passed));
        Arc::new(Entry::new(Service::sample(name, vec![instance]), LastCheck::default()))
    }

    fn change(catalog: &Catalog, name: &str) {
        let (entry, mut next) = (large(name), Snapshot::clone(&catalog.read()));
        let sequence = next.sequence() + 1;
        next.put(Arc::clone(&entry));
        next.advance(sequence, sequence);
        catalog.publish(next, Batch { sequence, revision: sequence, upserts: vec![entry], ..Batch::default() });
    }

    #[test]
    fn a_reader_lets_go_only_while_too_much_of_what_was_replaced_is_held() {
        let catalog = Catalog::new(Snapshot::empty(Epoch::random(), 1));
        for name in ["a", "b", "c"] {
            change(&catalog, name);
        }
        let pin = catalog.pin();
        let first = catalog.snapshot();
        for _ in 0..9 {
            change(&catalog, "a");
        }
        assert!(!pin.is_over(), "of all versions only the first is held");
        change(&catalog, "b");
        change(&catalog, "c");
        assert!(pin.is_over(), "all three services are held");
        assert!(!catalog.pin().is_over(), "a new reader holds nothing old");
        drop(first);
        assert!(!pin.is_over(), "nobody holds them any more");
    }
}
