//! How long a slow reader may hold on to an old state.
//!
//! A reader that sends a snapshot keeps services in memory that are replaced meanwhile. Their bytes are counted until the last reader drops
//! them. While they are too many, a reader must let go once as many bytes were replaced since it began. The readers that may go on hold at
//! most what was replaced since the oldest of them began, so all readers together are bounded.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Bytes of replaced services that readers may hold, and that may be replaced before a reader must let go.
pub const MAX_PINNED: u64 = 64 << 20;
/// Memory that a changed service takes in a snapshot's maps, in bytes.
const PATHS: usize = 512;

/// Bytes of what was replaced.
#[derive(Debug, Default)]
struct Bytes {
    /// All that was ever replaced.
    ever: AtomicU64,
    /// What somebody still holds of it.
    held: AtomicU64,
}

/// Counts what is replaced.
#[derive(Debug, Default)]
pub(super) struct Superseded(Arc<Bytes>);

impl Superseded {
    pub(super) fn pin(&self) -> Pin {
        Pin { since: self.0.ever.load(Ordering::Relaxed), bytes: Arc::clone(&self.0) }
    }

    /// Counts a change that replaced a service of `weight` bytes, 0 if the service is new.
    pub(super) fn add(&self, weight: usize) {
        self.0.ever.fetch_add(with_paths(weight), Ordering::Relaxed);
    }

    /// Counts a replaced service of `weight` bytes that somebody holds, until the result is dropped.
    pub(super) fn hold(&self, weight: usize) -> Held {
        let held = Held { weight: with_paths(weight), bytes: Arc::clone(&self.0) };
        held.bytes.held.fetch_add(held.weight, Ordering::Relaxed);
        held
    }
}

fn with_paths(weight: usize) -> u64 {
    u64::try_from(weight + PATHS).unwrap_or(u64::MAX)
}

/// The memory of a replaced service, part of the sum until it is dropped.
#[derive(Debug)]
pub(super) struct Held {
    weight: u64,
    bytes: Arc<Bytes>,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.bytes.held.fetch_sub(self.weight, Ordering::Relaxed);
    }
}

/// A reader's hold on an old state.
#[derive(Debug, Clone)]
pub struct Pin {
    since: u64,
    bytes: Arc<Bytes>,
}

impl Pin {
    /// Whether the reader must let go: readers hold more than [`MAX_PINNED`] bytes of replaced services, and as much was replaced since this
    /// one began.
    pub fn is_over(&self) -> bool {
        let replaced = self.bytes.ever.load(Ordering::Relaxed).saturating_sub(self.since);
        replaced > MAX_PINNED && self.bytes.held.load(Ordering::Relaxed) > MAX_PINNED
    }
}
