//! Whether clients can reach this server: the listener knows, and leases must not expire while they cannot.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Shared by the listener and those who ask; clones are the same.
#[derive(Debug, Clone, Default)]
pub struct Reachability(Arc<State>);

#[derive(Debug, Default)]
struct State {
    turned_away: AtomicU64,
    full: AtomicBool,
}

impl Reachability {
    /// A connection could not be taken, because the server or the machine has no room for more.
    pub fn turned_away(&self) {
        self.0.turned_away.fetch_add(1, Ordering::Relaxed);
        self.0.full.store(true, Ordering::Relaxed);
    }

    /// A connection was taken.
    pub fn admitted(&self) {
        // Most of the time nothing has to be written.
        if self.0.full.load(Ordering::Relaxed) {
            self.0.full.store(false, Ordering::Relaxed);
        }
    }

    /// How many connections were turned away, and whether none was taken since the last of them.
    pub fn read(&self) -> (u64, bool) {
        (self.0.turned_away.load(Ordering::Relaxed), self.0.full.load(Ordering::Relaxed))
    }
}
