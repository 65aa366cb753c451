//! A fixed rate: each instance is due at its own offset within its interval, on the steady clock.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use uuid::Uuid;

use crate::model::name::{CheckName, InstanceName};
use crate::model::time::UnixMs;

fn millis(interval: Duration) -> i64 {
    i64::try_from(interval.as_millis()).unwrap_or(i64::MAX).max(1)
}

/// A check's offset within its interval, in milliseconds. It follows from the names, so it is the same after a restart; the plain check
/// has none.
pub(crate) fn offset_ms(service: &Uuid, instance: &InstanceName, check: Option<&CheckName>, interval: Duration) -> i64 {
    let mut hasher = DefaultHasher::new();
    (service, instance).hash(&mut hasher);
    if let Some(check) = check {
        check.hash(&mut hasher);
    }
    let within = hasher.finish() % millis(interval).unsigned_abs();
    i64::try_from(within).unwrap_or(0)
}

/// The first due moment later than `after`. Missed ones are skipped.
pub(crate) fn next_due(offset_ms: i64, interval: Duration, after: UnixMs) -> UnixMs {
    let interval = millis(interval);
    let since_last = after.0.wrapping_sub(offset_ms).rem_euclid(interval);
    UnixMs(after.0.saturating_add(interval - since_last))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEN: Duration = Duration::from_secs(10);

    #[test]
    fn due_moments_keep_their_rate_and_skip_what_was_missed() {
        let first = next_due(1234, TEN, UnixMs(1_000_000));
        assert_eq!(first, UnixMs(1_001_234));
        assert_eq!(next_due(1234, TEN, first), UnixMs(1_011_234));
        assert_eq!(next_due(1234, TEN, UnixMs(1_058_000)), UnixMs(1_061_234), "no burst for five missed ones");
        assert_eq!(next_due(0, TEN, UnixMs(-1)), UnixMs(0));
    }

    #[test]
    fn offsets_spread_over_the_interval() {
        let name = InstanceName::default();
        let mut buckets = [0_u32; 10];
        for n in 0..10_000_u128 {
            let offset = offset_ms(&Uuid::from_u128(n), &name, None, TEN);
            buckets[usize::try_from(offset / 1000).expect("in range")] += 1;
        }
        assert!(buckets.iter().all(|n| (850..1150).contains(n)), "{buckets:?}");
    }
}
