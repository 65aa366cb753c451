//! How long a slow reader may hold on to an old state.
//!
//! A reader that sends a snapshot keeps every service in memory that is replaced meanwhile. All readers together keep at most what was
//! replaced since the oldest of them began, so that is bounded if each lets go once enough bytes were replaced since it began.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::feed::Batch;
use super::snapshot::Snapshot;

/// Bytes that may be replaced before a reader must let go.
pub const MAX_PINNED: u64 = 64 << 20;
/// Memory that a changed service takes in a snapshot's maps, in bytes.
const PATHS: usize = 512;

/// Bytes that were ever replaced.
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

/// A reader's hold on an old state.
#[derive(Debug, Clone)]
pub struct Pin {
    since: u64,
    now: Arc<AtomicU64>,
}

impl Pin {
    /// Whether more than [`MAX_PINNED`] bytes were replaced since: the reader must let go.
    pub fn is_over(&self) -> bool {
        self.now.load(Ordering::Relaxed).saturating_sub(self.since) > MAX_PINNED
    }
}
