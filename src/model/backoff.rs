//! Growing pauses between attempts.

use std::time::Duration;

/// Doubles from `first` to `most`, with jitter, so that replicas do not come back in step.
#[derive(Debug, Clone)]
pub(crate) struct Backoff {
    first: Duration,
    most: Duration,
    tries: u32,
}

impl Backoff {
    pub(crate) const fn new(first: Duration, most: Duration) -> Self {
        Self { first, most, tries: 0 }
    }

    /// The next pause: between half of its full length and all of it.
    pub(crate) fn next(&mut self) -> Duration {
        let full = self.first.saturating_mul(1_u32.checked_shl(self.tries).unwrap_or(u32::MAX)).min(self.most);
        self.tries = (self.tries + 1).min(31);
        full.mul_f64(rand::random_range(0.5..=1.0))
    }

    /// Something went well.
    pub(crate) fn reset(&mut self) {
        self.tries = 0;
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
}
