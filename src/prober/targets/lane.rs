//! The lane in which a due instance waits for its start, by what its last probe took.

/// What its last probe says about how long the next one may hold a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Lane {
    /// It ended in good time, whatever the verdict.
    Quick,
    /// Never probed: wanted soon, but may hold its slot for long.
    New,
    /// It took half of its timeout or more: may hold its slot for long.
    Slow,
    /// Slow, and confirmed to be down: the only news would be that it is up again, so it comes last.
    Hung,
}

impl Lane {
    /// Whether a probe may hang, so that it is restricted to the slots for slow probes.
    pub(crate) fn may_hang(self) -> bool {
        !matches!(self, Self::Quick)
    }
}

/// An instance's priority in the queue for a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Priority {
    /// Requested by a person or by the guard.
    pub(crate) urgent: bool,
    pub(crate) lane: Lane,
}
