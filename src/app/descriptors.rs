//! Divides the process's file descriptors between its components, so that together they cannot run out.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// No component can use more.
const MAX: u64 = 1 << 20;

/// How many descriptors the process may hold.
#[derive(Debug, Clone, Copy)]
pub(super) struct Descriptors(usize);

impl Descriptors {
    /// Raises the soft limit to the hard one.
    pub(super) fn raise() -> Self {
        let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
        let raised = current == maximum || setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).is_ok();
        Self::of(if raised { maximum } else { current }.unwrap_or(MAX))
    }

    fn of(limit: u64) -> Self {
        Self(usize::try_from(limit.min(MAX)).unwrap_or(usize::MAX))
    }

    /// For connections of clients: two fifths.
    pub(super) fn connections(self) -> usize {
        (self.0 / 5 * 2).max(16)
    }

    /// For probes, one each: two fifths.
    pub(super) fn probes(self) -> usize {
        (self.0 / 5 * 2).max(1)
    }

    /// For name lookups, four sockets each: a tenth. The last tenth is for the store, the log and everything else.
    pub(super) fn lookups(self) -> usize {
        (self.0 / 40).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenth_is_left_over() {
        for limit in [64, 256, 1024, 20_000, MAX] {
            let all = Descriptors::of(limit);
            let shared = all.connections() + all.probes() + 4 * all.lookups();
            assert!(shared as u64 <= limit - limit / 10, "{shared} of {limit}");
        }
        assert!(Descriptors::raise().0 >= 64);
    }
}
