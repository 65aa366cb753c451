//! The figures of a server in its turn.

use crate::wrk::Round;

/// One turn.
#[derive(Debug, Clone, Copy)]
pub(super) struct Figures {
    /// Probes a second with no load but ten registrations a second.
    pub(super) probes: f64,
    /// Discovery with 1 and with 32 clients, registrations with 1 and with 64.
    pub(super) loads: [Loaded; 4],
    /// From a registration's request to its event at a watcher, in milliseconds, with no other load.
    pub(super) change_p50: f64,
    /// The slowest of them.
    pub(super) change_worst: f64,
    /// From a key of the console to its frame, in milliseconds.
    pub(super) key_p50: f64,
    /// The 99th percentile of the same.
    pub(super) key_p99: f64,
    /// The longest delay of a watcher at any time of the turn, in milliseconds.
    pub(super) behind: f64,
}

/// One round of wrk, and the probes a second during it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Loaded {
    pub(super) round: Round,
    pub(super) probes: f64,
}
