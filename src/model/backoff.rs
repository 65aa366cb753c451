//! Growing pauses between attempts.

use std::time::Duration;

/// How much of a pause is left to chance, so that several clients do not come back in step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Jitter {
    None,
    /// Half of the pause.
    Half,
    /// All of it.
    Full,
}

/// Pauses that double from a first one up to a longest one.
///
/// ```
/// use std::time::Duration;
///
/// use portolan::model::backoff::Backoff;
///
/// let mut backoff = Backoff::exact(Duration::from_secs(1), Duration::from_secs(3));
/// let pauses: Vec<u64> = (0..4).map(|_| backoff.next().as_secs()).collect();
/// assert_eq!(pauses, [1, 2, 3, 3]);
/// ```
#[derive(Debug, Clone)]
pub struct Backoff {
    first: Duration,
    longest: Duration,
    jitter: Jitter,
    attempts: u32,
}

impl Backoff {
    /// Each pause is between half of its length and all of it.
    pub const fn new(first: Duration, longest: Duration) -> Self {
        Self { first, longest, jitter: Jitter::Half, attempts: 0 }
    }

    /// Each pause has its full length.
    pub const fn exact(first: Duration, longest: Duration) -> Self {
        Self { jitter: Jitter::None, ..Self::new(first, longest) }
    }

    /// Each pause is between nothing and its full length.
    pub const fn full_jitter(first: Duration, longest: Duration) -> Self {
        Self { jitter: Jitter::Full, ..Self::new(first, longest) }
    }

    /// The next pause.
    #[expect(clippy::should_implement_trait, reason = "it never ends, and nobody collects pauses")]
    pub fn next(&mut self) -> Duration {
        let full = self.first.saturating_mul(1_u32.checked_shl(self.attempts).unwrap_or(u32::MAX)).min(self.longest);
        self.attempts = (self.attempts + 1).min(31);
        match self.jitter {
            Jitter::None => full,
            Jitter::Half => full.mul_f64(rand::random_range(0.5..=1.0)),
            Jitter::Full => full.mul_f64(rand::random_range(0.0..=1.0)),
        }
    }

    /// An attempt succeeded: the next pause is the first one again.
    pub fn reset(&mut self) {
        self.attempts = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_their_bound_and_start_over() {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(10));
        let pauses: Vec<_> = (0..100).map(|_| backoff.next()).collect();
        assert!((50..=100).contains(&pauses[0].as_millis()), "{:?}", pauses[0]);
        assert!(pauses[7..].iter().all(|pause| (5_000..=10_000).contains(&pause.as_millis())));
        backoff.reset();
        assert!(backoff.next() <= Duration::from_millis(100));
    }

    #[test]
    fn jitter_takes_none_or_all_of_a_pause() {
        let (first, longest) = (Duration::from_millis(500), Duration::from_secs(5));
        let mut exact = Backoff::exact(first, longest);
        let pauses: Vec<_> = (0..6).map(|_| exact.next().as_millis()).collect();
        assert_eq!(pauses, [500, 1000, 2000, 4000, 5000, 5000]);
        let mut full = Backoff::full_jitter(first, longest);
        let pauses: Vec<_> = (0..100).map(|_| full.next()).collect();
        assert!(pauses.iter().all(|pause| *pause <= longest));
        assert!(pauses.iter().any(|pause| *pause < longest / 2));
    }
}
