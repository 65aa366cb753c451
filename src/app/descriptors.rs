//! The process's file descriptors, shared out: each part gets a number, and together they cannot run out.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// More are of no use.
const MOST: u64 = 1 << 20;

/// How many descriptors the process may hold.
#[derive(Debug, Clone, Copy)]
pub(super) struct Descriptors(usize);

impl Descriptors {
    /// Raises the soft limit to the hard one.
    pub(super) fn raise() -> Self {
        let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
        let raised = current == maximum || setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).is_ok();
        Self::of(if raised { maximum } else { current }.unwrap_or(MOST))
    }

    fn of(limit: u64) -> Self {
        Self(usize::try_from(limit.min(MOST)).unwrap_or(usize::MAX))
    }

    /// Connections of clients: two fifths.
    pub(super) fn connections(self) -> usize {
        (self.0 / 5 * 2).max(16)
    }

    /// Probes, of one each: two fifths.
    pub(super) fn probes(self) -> usize {
        (self.0 / 5 * 2).max(1)
    }

    /// Lookups of names, of four sockets each: a tenth. The last tenth is for the store, the log and whatever else is open.
    pub(super) fn lookups(self) -> usize {
        (self.0 / 40).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shares_leave_a_tenth() {
        for limit in [64, 256, 1024, 20_000, MOST] {
            let all = Descriptors::of(limit);
            let shared = all.connections() + all.probes() + 4 * all.lookups();
            assert!(shared as u64 <= limit - limit / 10, "{shared} of {limit}");
        }
        assert!(Descriptors::raise().0 >= 64);
    }
}
