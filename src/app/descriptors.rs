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

    /// For probes, one each: as many as are `wanted`, at most two fifths.
    pub(super) fn probes(self, wanted: usize) -> usize {
        wanted.min(self.0 / 5 * 2).max(1)
    }

    /// For the connections that open beside the first ones of their probes: an eighth as many as `probes`, since few names have an address
    /// that is silent while another one is tried.
    pub(super) fn spare(self, probes: usize) -> usize {
        (probes / 8).max(3).min(self.0 / 20)
    }

    /// For connections of clients: what `probes`, with their spare connections, leave of four fifths.
    pub(super) fn connections(self, probes: usize) -> usize {
        (self.0 / 5 * 4).saturating_sub(probes).max(16)
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
        for (limit, wanted) in
            [(64, 1), (64, 1024), (256, 1024), (1024, 64), (20_000, 1024), (20_000, 60_000), (MAX, 7)]
        {
            let all = Descriptors::of(limit);
            let probes = all.probes(wanted);
            let spare = all.spare(probes);
            let shared = all.connections(probes + spare) + probes + spare + 4 * all.lookups();
            assert!(shared as u64 <= limit - limit / 10, "{shared} of {limit}");
            assert!(spare >= 3, "a probe may dial four addresses at once");
        }
        assert_eq!(
            Descriptors::of(20_000).connections(1024),
            14_976,
            "probes that nobody wants leave room for clients"
        );
        assert!(Descriptors::raise().0 >= 64);
    }
}
