//! The read model: every service with its health and its rendered JSON, at one revision.
//!
//! A [`Snapshot`] never changes; the store's writer makes the next one from it, publishes it in the [`Catalog`] with one
//! atomic swap, and then sends the [`Batch`] of what differs on the feed. Reads never touch SQLite.
//!
//! Old states live for as long as a reader holds them, so both are bounded in bytes: the feed keeps few megabytes of batches, and a
//! [`Pin`] tells a slow reader when it has to let go.

pub mod entry;
pub mod feed;
mod inline_key;
pub mod pin;
pub mod render;
pub mod snapshot;

use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;

pub use entry::{Entry, LastCheck, Mark, WeakTag};
pub use feed::{Batch, Feed, FeedError};
pub use pin::Pin;
pub use snapshot::{Counts, Epoch, Snapshot};

/// Batches that a slow reader of the feed may lag behind before it is told to take a snapshot again.
const FEED_CAPACITY: usize = 1024;
/// Bytes that those batches may hold on to; the newest one comes on top.
const FEED_BYTES: usize = 8 << 20;

/// The current snapshot and the feed of what changes it.
#[derive(Debug)]
pub struct Catalog {
    current: ArcSwap<Snapshot>,
    feed: tokio::sync::broadcast::Sender<feed::Sent>,
    /// Only the writer touches it.
    recent: Mutex<feed::RecentBatches>,
    superseded: pin::Superseded,
    /// In cluster mode: the newest revision of the Kubernetes API's watch that is in the current snapshot.
    heard: tokio::sync::watch::Sender<u64>,
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
            heard: tokio::sync::watch::Sender::default(),
        }
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

    /// For a reader that holds on to what there is at this moment.
    pub fn pin(&self) -> Pin {
        self.superseded.pin()
    }

    /// How far the Kubernetes API was heard, in cluster mode: everything up to that revision is in the current snapshot, unless more
    /// than one namespace is watched; then everything of one of them.
    pub fn heard(&self) -> tokio::sync::watch::Receiver<u64> {
        self.heard.subscribe()
    }

    /// Says that the Kubernetes API was heard up to `revision`, and that it is shown.
    pub fn hear(&self, revision: u64) {
        self.heard.send_if_modified(|heard| std::mem::replace(heard, revision) != revision);
    }

    /// Makes `next` what readers see, then tells the feed. Only the store's writer calls this, after its commit.
    pub fn publish(&self, next: Snapshot, batch: Batch) {
        let before = self.current.swap(Arc::new(next));
        self.superseded.add(&before, &batch);
        let sent = self.recent.lock().unwrap_or_else(PoisonError::into_inner).keep(batch, FEED_CAPACITY, FEED_BYTES);
        // No receiver is fine: nobody is listening yet.
        let _ = self.feed.send(sent);
    }
}
