//! How long the probes of a service take: of all its instances, which filters mean, and of each check, since a row shows one instance's.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use super::data::{Instance, ProbingOfInstance, ProbingOfService};
use super::filter::Latency;
use super::text::sparkline;

/// What is kept of a service's probing: for ten thousand services little, so no names and no samples.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Took {
    /// The latency of all instances together; none without a passing probe.
    pub all: Option<Latency>,
    /// The latency of each check, in the order of the probing.
    checks: Box<[OfCheck]>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct OfCheck {
    /// Hashes of the names.
    instance: u64,
    check: u64,
    /// In microseconds.
    percentiles: Option<(u32, u32)>,
}

impl Took {
    /// What a service's probing says.
    pub fn of(probing: &ProbingOfService) -> Self {
        let checks = probing.instances.iter().map(|known| OfCheck {
            instance: hash(&*known.instance),
            check: hash(&known.check),
            percentiles: percentiles(std::slice::from_ref(known)),
        });
        Self { all: percentiles(&probing.instances).map(latency), checks: checks.collect() }
    }

    /// Whether nothing is known.
    pub fn is_unknown(&self) -> bool {
        self.all.is_none() && self.checks.is_empty()
    }

    /// The latency of the check that decides the health of `instance`, else of its first check. A row shows it; see
    /// [`deciding`](super::data::deciding).
    pub fn of_instance(&self, instance: &Instance) -> Option<Latency> {
        let (name, check) = (hash(&*instance.name), hash(&instance.decided_by));
        let mut checks = self.checks.iter().filter(|of| of.instance == name).peekable();
        let first = checks.peek().copied();
        checks.find(|of| of.check == check).or(first)?.percentiles.map(latency)
    }
}

fn hash<T: Hash + ?Sized>(of: &T) -> u64 {
    let mut hasher = DefaultHasher::new();
    of.hash(&mut hasher);
    hasher.finish()
}

/// The median and the 99th percentile, in microseconds.
fn percentiles(of: &[ProbingOfInstance]) -> Option<(u32, u32)> {
    let at = |percent| sparkline::percentile(of.iter().flat_map(|known| &known.samples), percent);
    Some((at(50)?, at(99)?))
}

fn latency((p50, p99): (u32, u32)) -> Latency {
    let time = |us: u32| Duration::from_micros(us.into());
    Latency { p50: time(p50), p99: time(p99) }
}
