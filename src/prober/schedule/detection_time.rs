//! The longest time until everything is known to be unhealthy if all targets hang at once.
//!
//! Each probe then holds a slot for its whole timeout. All instances of a namespace wait at the same stretched fraction of their intervals,
//! and namespaces share the slots fairly, so each gets at least what this computes. An instance becomes unhealthy after
//!
//! *its interval + its timeout + threshold × the time between two confirming probes + the mass-failure guard's hold*
//!
//! where that time is the timeout, or the retry interval if longer, while slots are free, and otherwise the stretched gap of a
//! confirmation. With equal checks the third term is `instances × threshold × timeout / slots left by the guard`. Addresses with a budget may take
//! longer: each gets at most eight probes at once.

use std::collections::HashMap;
use std::time::Duration;

use crate::model::check::Timing;
use crate::prober::guard::{MAX_HOLD, ROUND, most_canaries};
use crate::prober::targets::confirming_gap;

/// The part of many slots that remains while the guard probes its canaries.
const LEFT_BY_CANARIES: f64 = 7.0 / 8.0;

/// The longest time from the moment at which everything hangs until the last of these instances, each with its namespace, is known to be
/// unhealthy; none without instances.
pub(crate) fn detection_time<'a>(
    instances: impl Iterator<Item = (u64, &'a Timing)> + Clone,
    slots: usize,
) -> Option<Duration> {
    let mut wanted: HashMap<u64, f64> = HashMap::new();
    for (namespace, timing) in instances.clone() {
        // A slot is held for the timeout, once per confirmation's gap, but not twice at once.
        let gap = confirming_gap(timing).max(timing.timeout);
        *wanted.entry(namespace).or_default() += timing.timeout.as_secs_f64() / gap.as_secs_f64();
    }
    let share = fair_share(wanted.values().copied().collect(), left_by_canaries(slots));
    let guarded = MAX_HOLD + ROUND;
    let longest = instances.map(|(namespace, timing)| {
        let stretch = (wanted.get(&namespace).copied().unwrap_or(0.0) / share).max(1.0);
        let free = timing.timeout.max(timing.retry_interval);
        let queued = confirming_gap(timing).max(timing.timeout).mul_f64(stretch);
        let step = if stretch > 1.0 { queued.max(free) } else { free };
        timing.interval + step * timing.unhealthy_threshold + timing.timeout + guarded
    });
    longest.max()
}

#[expect(clippy::cast_precision_loss, reason = "at most 20,000 slots")]
fn left_by_canaries(slots: usize) -> f64 {
    let of_few = slots.saturating_sub(most_canaries(slots)).max(1);
    (of_few as f64).min(slots as f64 * LEFT_BY_CANARIES)
}

/// The share of each, so that nobody gets more than it wants and the rest is shared evenly (max-min).
fn fair_share(mut wanted: Vec<f64>, mut room: f64) -> f64 {
    wanted.sort_by(f64::total_cmp);
    let mut left = wanted.len();
    for want in wanted {
        #[expect(clippy::cast_precision_loss, reason = "a count of namespaces")]
        let even = room / left as f64;
        if want > even {
            return even;
        }
        room -= want;
        left -= 1;
    }
    f64::INFINITY
}

#[cfg(test)]
mod tests {
    use super::*;

    fn timing(interval: u64, timeout: u64, threshold: u32) -> Timing {
        Timing {
            interval: Duration::from_secs(interval),
            timeout: Duration::from_secs(timeout),
            retry_interval: Duration::from_secs(1),
            unhealthy_threshold: threshold,
            healthy_threshold: 1,
        }
    }

    fn seconds(namespaces: &[(u64, usize, Timing)], slots: usize) -> u64 {
        let all = namespaces.iter().flat_map(|(namespace, count, timing)| vec![(*namespace, timing); *count]);
        detection_time(all, slots).expect("some").as_secs()
    }

    #[test]
    fn with_slots_for_all_it_is_the_interval_the_confirmations_and_the_hold() {
        assert_eq!(seconds(&[(1, 10, timing(10, 5, 3))], 1024), 10 + 5 + 3 * 5 + 66);
        assert_eq!(detection_time([].into_iter(), 10), None);
    }

    #[test]
    fn with_too_few_it_is_what_they_allow() {
        let took = seconds(&[(1, 10_000, timing(10, 5, 3))], 1024);
        let work = 10_000 * 5 * 3 / 1024;
        assert!((10 + 66 + work..=10 + 5 + 66 + work * 8 / 7 + 1).contains(&took), "{took}");
        assert!(took <= 300, "ten thousand are known within five minutes: {took}");
    }

    #[test]
    fn of_few_slots_the_guard_takes_more_than_an_eighth() {
        assert_eq!(seconds(&[(1, 600, timing(5, 2, 3))], 20), 5 + 2 + 3 * 600 * 2 / 16 + 66);
        assert!(seconds(&[(1, 1, timing(5, 2, 3))], 1) < 120, "one slot is shared");
    }

    #[test]
    fn a_large_namespace_takes_longer_than_its_part_of_all() {
        let one = seconds(&[(1, 10_000, timing(10, 5, 3))], 1024);
        let small: Vec<_> = (2..10).map(|ns| (ns, 100, timing(10, 5, 3))).collect();
        let mixed = seconds(&[&[(1, 9_200, timing(10, 5, 3))][..], &small].concat(), 1024);
        assert!(mixed > one, "{mixed} and {one}");
    }
}
