//! The read model: every service with its health and its rendered JSON, at one revision.
//!
//! A [`Snapshot`] never changes; the store's writer makes the next one from it, publishes it in the [`Catalog`] with one
//! atomic swap, and then sends the [`Batch`] of what differs on the feed. Reads never touch SQLite.

pub mod entry;
pub mod feed;
mod place;
pub mod render;
pub mod snapshot;

use std::sync::Arc;

use arc_swap::ArcSwap;

pub use entry::{Entry, LastCheck, Mark, WeakTag};
pub use feed::{Batch, Feed, FeedError};
pub use snapshot::{Counts, Epoch, Snapshot};

/// Batches that a slow reader of the feed may lag behind before it is told to take a snapshot again.
const FEED_CAPACITY: usize = 1024;

/// The current snapshot and the feed of what changes it.
#[derive(Debug)]
pub struct Catalog {
    current: ArcSwap<Snapshot>,
    feed: tokio::sync::broadcast::Sender<Arc<Batch>>,
}

impl Catalog {
    /// A catalog that starts with what the store loaded.
    pub fn new(first: Snapshot) -> Self {
        let (feed, _) = tokio::sync::broadcast::channel(FEED_CAPACITY);
        Self { current: ArcSwap::from_pointee(first), feed }
    }

    /// The snapshot of this moment, for a short read.
    pub fn read(&self) -> arc_swap::Guard<Arc<Snapshot>> {
        self.current.load()
    }

    /// The snapshot of this moment, to keep.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.current.load_full()
    }

    /// A snapshot, and every batch after it.
    pub fn subscribe(&self) -> (Arc<Snapshot>, Feed) {
        // Subscribed first: a batch published in between is then in both, and the feed skips it by its sequence.
        let receiver = self.feed.subscribe();
        let snapshot = self.snapshot();
        let feed = Feed::new(receiver, snapshot.sequence());
        (snapshot, feed)
    }

    /// Makes `next` what readers see, then tells the feed. Only the store's writer calls this, after its commit.
    pub fn publish(&self, next: Snapshot, batch: Batch) {
        self.current.store(Arc::new(next));
        // No receiver is fine: nobody is listening yet.
        let _ = self.feed.send(Arc::new(batch));
    }
}
