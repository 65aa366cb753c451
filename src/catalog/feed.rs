//! The feed: what changed, batch by batch, in order of sequence.

use std::collections::VecDeque;
use std::sync::{Arc, OnceLock, Weak};

use bytes::Bytes;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;
use uuid::Uuid;

use super::entry::Entry;
use crate::model::name::ServiceKey;

/// What one commit changed. A service that was removed and registered again is in both lists, with two ids: removals come first.
#[derive(Debug, Clone, Default)]
pub struct Batch {
    /// The catalog's sequence after it.
    pub sequence: u64,
    /// The catalog's revision after it.
    pub revision: u64,
    /// New and changed services.
    pub upserts: Vec<Arc<Entry>>,
    /// Removed services.
    pub removed: Vec<(ServiceKey, Uuid)>,
    /// The whole batch as readers send it on, without and with owners, rendered by the first of them if it is small.
    pub rendered: [OnceLock<Bytes>; 2],
}

impl Batch {
    /// About how much memory it keeps, in bytes.
    pub fn weight(&self) -> usize {
        let upserts: usize = self.upserts.iter().map(|entry| entry.weight()).sum();
        size_of::<Self>() + upserts + self.removed.len() * size_of::<(ServiceKey, Uuid)>()
    }
}

/// A batch on its way; readers get it as long as it is kept.
#[derive(Debug, Clone)]
pub(super) struct Sent {
    sequence: u64,
    batch: Weak<Batch>,
}

/// The newest batches, within the bounds. A reader that is further behind takes a snapshot again.
#[derive(Debug, Default)]
pub(super) struct RecentBatches {
    batches: VecDeque<(Arc<Batch>, usize)>,
    bytes: usize,
}

impl RecentBatches {
    /// Adds a batch. The newest is kept whatever its size.
    pub(super) fn keep(&mut self, batch: Batch, most: usize, most_bytes: usize) -> Sent {
        let (weight, batch) = (batch.weight(), Arc::new(batch));
        let sent = Sent { sequence: batch.sequence, batch: Arc::downgrade(&batch) };
        self.bytes += weight;
        self.batches.push_back((batch, weight));
        while self.batches.len() > 1 && (self.batches.len() > most || self.bytes > most_bytes) {
            let Some((_, weight)) = self.batches.pop_front() else { break };
            self.bytes -= weight;
        }
        sent
    }
}

/// Why a feed stopped being continuous.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FeedError {
    /// The reader was too slow; batches were dropped.
    #[error("lagged behind the feed; take a snapshot again")]
    Lagged,
    /// The catalog is gone.
    #[error("the feed has ended")]
    Ended,
}

/// A reader's position in the feed.
#[derive(Debug)]
pub struct Feed {
    receiver: broadcast::Receiver<Sent>,
    last: u64,
}

impl Feed {
    pub(super) fn new(receiver: broadcast::Receiver<Sent>, last: u64) -> Self {
        Self { receiver, last }
    }

    /// The next batch after the snapshot. Cancel safe.
    ///
    /// # Errors
    /// [`FeedError::Lagged`]: subscribe again. [`FeedError::Ended`]: the process stops.
    pub async fn next(&mut self) -> Result<Arc<Batch>, FeedError> {
        loop {
            match self.receiver.recv().await {
                Ok(sent) if sent.sequence <= self.last => {}
                Ok(sent) => {
                    self.last = sent.sequence;
                    return sent.batch.upgrade().ok_or(FeedError::Lagged);
                }
                Err(RecvError::Lagged(_)) => return Err(FeedError::Lagged),
                Err(RecvError::Closed) => return Err(FeedError::Ended),
            }
        }
    }
}
