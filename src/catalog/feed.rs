//! The feed: what changed, batch by batch, in order of sequence.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;
use uuid::Uuid;

use super::entry::Entry;
use crate::model::name::ServiceKey;

/// What one commit changed. A service that was removed and registered again is in both lists, with two ids: removals come first.
#[derive(Debug, Clone, Default)]
pub struct Batch {
    /// The catalog's sequence after it: grows from batch to batch.
    pub sequence: u64,
    /// The catalog's revision after it.
    pub revision: u64,
    /// Services that are new or differ.
    pub upserts: Vec<Arc<Entry>>,
    /// Services that are gone.
    pub removed: Vec<(ServiceKey, Uuid)>,
    /// The whole as its readers send it on, made by the first of them.
    pub rendered: OnceLock<Bytes>,
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

/// One reader's place on the feed.
#[derive(Debug)]
pub struct Feed {
    receiver: broadcast::Receiver<Arc<Batch>>,
    seen: u64,
}

impl Feed {
    pub(super) fn new(receiver: broadcast::Receiver<Arc<Batch>>, seen: u64) -> Self {
        Self { receiver, seen }
    }

    /// The next batch that the snapshot did not hold. Cancel safe.
    ///
    /// # Errors
    /// [`FeedError::Lagged`]: subscribe again. [`FeedError::Ended`]: the process stops.
    pub async fn next(&mut self) -> Result<Arc<Batch>, FeedError> {
        loop {
            match self.receiver.recv().await {
                Ok(batch) if batch.sequence <= self.seen => {}
                Ok(batch) => {
                    self.seen = batch.sequence;
                    return Ok(batch);
                }
                Err(RecvError::Lagged(_)) => return Err(FeedError::Lagged),
                Err(RecvError::Closed) => return Err(FeedError::Ended),
            }
        }
    }
}
