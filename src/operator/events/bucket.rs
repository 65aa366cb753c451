//! A token bucket: bounds requests to the Kubernetes API. Pure: callers pass the time.

use std::time::{Duration, Instant};

use crate::model::rate::Rate;

/// Full at the start; fills steadily.
#[derive(Debug, Clone)]
pub(crate) struct Bucket {
    rate: Rate,
    /// When it is full again.
    full_at: Option<Instant>,
}

impl Bucket {
    /// `per_second` and `burst`, both ≥ 1.
    pub(crate) fn new(per_second: u32, burst: u32) -> Self {
        let interval_ns = 1_000_000_000 / u64::from(per_second.max(1));
        Self { rate: Rate::new(interval_ns, interval_ns * u64::from(burst.max(1))), full_at: None }
    }

    /// Takes a token, if there is one.
    pub(crate) fn take(&mut self, now: Instant) -> bool {
        let taken = self.rate.take(self.debt_ns(now));
        if let Ok(debt) = taken {
            self.full_at = Some(now + Duration::from_nanos(debt));
        }
        taken.is_ok()
    }

    /// Time until there is a token; zero when there is one.
    pub(crate) fn wait(&self, now: Instant) -> Duration {
        Duration::from_nanos(self.rate.take(self.debt_ns(now)).err().unwrap_or(0))
    }

    fn debt_ns(&self, now: Instant) -> u64 {
        let debt = self.full_at.map_or(Duration::ZERO, |at| at.saturating_duration_since(now));
        u64::try_from(debt.as_nanos()).unwrap_or(u64::MAX)
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
