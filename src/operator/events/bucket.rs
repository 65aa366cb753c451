//! A token bucket: bounds what is written to the Kubernetes API. Pure, told the time.

use std::time::{Duration, Instant};

/// Full at the start; fills steadily.
#[derive(Debug, Clone)]
pub(crate) struct Bucket {
    /// Time in which one token comes.
    interval: Duration,
    /// Most tokens at once.
    burst: u32,
    /// When it is full again: each token taken moves it by `interval`.
    full_at: Option<Instant>,
}

impl Bucket {
    /// `per_second` and `burst`, both ≥ 1.
    pub(crate) fn new(per_second: u32, burst: u32) -> Self {
        Self { interval: Duration::from_secs(1) / per_second.max(1), burst: burst.max(1), full_at: None }
    }

    /// Takes a token, if there is one.
    pub(crate) fn take(&mut self, now: Instant) -> bool {
        if !self.wait(now).is_zero() {
            return false;
        }
        let full_at = self.full_at.map_or(now, |at| at.max(now));
        self.full_at = Some(full_at + self.interval);
        true
    }

    /// Time until there is a token; zero when there is one.
    pub(crate) fn wait(&self, now: Instant) -> Duration {
        let missing = self.full_at.map_or(Duration::ZERO, |at| at.saturating_duration_since(now));
        (missing + self.interval).saturating_sub(self.interval * self.burst)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_and_then_the_rate() {
        let (mut bucket, start) = (Bucket::new(10, 3), Instant::now());
        assert_eq!((0..5).filter(|_| bucket.take(start)).count(), 3);
        assert_eq!(bucket.wait(start), Duration::from_millis(100));
        let taken = (1..=1000).filter(|ms| bucket.take(start + Duration::from_millis(*ms))).count();
        assert_eq!(taken, 10);
        let later = start + Duration::from_mins(1);
        assert_eq!((0..5).filter(|_| bucket.take(later)).count(), 3, "it holds no more than its burst");
    }
}
