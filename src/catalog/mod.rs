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

    /// How far the watch has come, in cluster mode: the current snapshot includes everything up to that revision; if several namespaces are
    /// watched, everything of one of them.
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
        self.superseded.add(&before, &batch);
        let sent = self.recent.lock().unwrap_or_else(PoisonError::into_inner).keep(batch, FEED_CAPACITY, FEED_BYTES);
        // No receiver is fine: nobody is listening yet.
        let _ = self.feed.send(sent);
    }
}
