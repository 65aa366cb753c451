//! Which services have a change on its way through the writer's queue, so that no answer from the snapshot overtakes it.

use std::hash::{BuildHasher, RandomState};

use crate::model::name::ServiceKey;
use crate::model::sync::Arc;
use crate::model::sync::atomic::{AtomicU32, Ordering};

/// Number of counts. Services share them; sharing costs a renewal at most the way through the queue.
const COUNTS: usize = 1024;

/// Counts of register and deregister calls that are queued or being written, by service. Cloning shares them.
#[derive(Debug, Clone)]
pub(crate) struct Pending(Arc<Counts>);

#[derive(Debug)]
struct Counts {
    hasher: RandomState,
    counts: [AtomicU32; COUNTS],
}

impl Pending {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Counts { hasher: RandomState::new(), counts: [const { AtomicU32::new(0) }; COUNTS] }))
    }

    /// Whether no call about `key` is on its way. Read the snapshot only after this.
    pub(crate) fn is_settled(&self, key: &ServiceKey) -> bool {
        self.0.counts.get(self.slot(key)).is_none_or(|count| count.load(Ordering::SeqCst) == 0)
    }

    /// Counts a call about `key` until the ticket is dropped, after its change is published.
    pub(crate) fn enter(&self, key: &ServiceKey) -> Ticket {
        let slot = self.slot(key);
        if let Some(count) = self.0.counts.get(slot) {
            count.fetch_add(1, Ordering::SeqCst);
        }
        Ticket { pending: self.clone(), slot }
    }

    fn slot(&self, key: &ServiceKey) -> usize {
        usize::try_from(self.0.hasher.hash_one(key) % COUNTS as u64).unwrap_or(0)
    }
}

/// One call on its way.
#[derive(Debug)]
pub(crate) struct Ticket {
    pending: Pending,
    slot: usize,
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if let Some(count) = self.pending.0.counts.get(self.slot) {
            count.fetch_sub(1, Ordering::SeqCst);
        }
    }
}
