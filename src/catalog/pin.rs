//! How long a slow reader may hold on to an old state.
//!
//! A reader that sends a snapshot keeps every service alive that was replaced meanwhile. Whatever all readers keep alive together was
//! replaced after the oldest of them began; so it is bounded when each lets go once a number of bytes was replaced since it began.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::feed::Batch;
use super::snapshot::Snapshot;

/// Bytes that may be replaced before a reader must let go.
pub const MAX_PINNED: u64 = 64 << 20;
/// What the maps of a snapshot take for a service that changed, in bytes.
const PATHS: usize = 512;

/// All bytes that were ever replaced.
#[derive(Debug, Default)]
pub(super) struct Superseded(Arc<AtomicU64>);

impl Superseded {
    pub(super) fn pin(&self) -> Pin {
        Pin { since: self.0.load(Ordering::Relaxed), now: Arc::clone(&self.0) }
    }

    /// Adds what `batch` replaced in `before`.
    pub(super) fn add(&self, before: &Snapshot, batch: &Batch) {
        let keys =
            batch.upserts.iter().map(|entry| &entry.service().key).chain(batch.removed.iter().map(|(key, _)| key));
        let bytes: usize = keys.map(|key| before.get(key.as_str()).map_or(0, |old| old.weight()) + PATHS).sum();
        self.0.fetch_add(u64::try_from(bytes).unwrap_or(0), Ordering::Relaxed);
    }
}

/// A reader's hold on the state of a moment.
#[derive(Debug, Clone)]
pub struct Pin {
    since: u64,
    now: Arc<AtomicU64>,
}

impl Pin {
    /// Whether more than [`MAX_PINNED`] bytes were replaced meanwhile: what is held must go.
    pub fn is_over(&self) -> bool {
        self.now.load(Ordering::Relaxed).saturating_sub(self.since) > MAX_PINNED
    }
}
