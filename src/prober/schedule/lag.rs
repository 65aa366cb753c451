//! How far behind probing is: how long the longest-waiting instance has waited, and by what factor intervals are stretched.
//!
//! Measured separately for targets that answer and for those that hang: the former wait for the processor, the latter for slots, and a
//! shortage of one says nothing about the other.

use std::collections::VecDeque;
use std::time::Duration;

use crate::model::service::CheckId;
use crate::model::time::UnixMs;

/// A factor of 1.
pub(crate) const UNSTRETCHED: u64 = 1000;

/// One lane's meter.
#[derive(Debug, Default)]
pub(crate) struct LagMeter {
    /// Which instances wait since when, roughly in that order. Outdated entries stay until they come to the front.
    waiting: VecDeque<(UnixMs, CheckId)>,
    /// The gaps that the probes started since the last reading asked for, in total; the next field has the gaps that they got.
    requested: Duration,
    actual: Duration,
    /// The longest time that one of them waited.
    worst: Duration,
    /// The factor, in thousandths, as last read.
    stretch: u64,
}

/// One reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reading {
    /// The longest wait, among probes that started since the last reading and the instance that waits longest now.
    pub(crate) lag: Duration,
    /// Actual gaps between probes relative to the requested ones, in thousandths, at least [`UNSTRETCHED`].
    pub(crate) stretch: u64,
}

impl LagMeter {
    /// Notes that an instance has waited since then.
    pub(crate) fn waits(&mut self, since: UnixMs, instance: CheckId) {
        self.waiting.push_back((since, instance));
    }

    /// Notes that a probe starts after this wait, of an instance that asks for this gap.
    pub(crate) fn started(&mut self, gap: Duration, waited: Duration) {
        self.requested += gap;
        self.actual += gap + waited;
        self.worst = self.worst.max(waited);
    }

    /// The instance that waits longest, and since when; `waits` says whether an entry is up to date.
    pub(crate) fn head(&mut self, waits: impl Fn(UnixMs, CheckId) -> bool) -> Option<(UnixMs, CheckId)> {
        while let Some((since, instance)) = self.waiting.front().copied() {
            if waits(since, instance) {
                return Some((since, instance));
            }
            self.waiting.pop_front();
        }
        if self.waiting.capacity() > 1024 {
            self.waiting.shrink_to(64);
        }
        None
    }

    /// Drops outdated entries once there are more of them than of the `live` ones, so that memory stays bounded.
    pub(crate) fn tidy(&mut self, live: usize, waits: impl Fn(UnixMs, CheckId) -> bool) {
        if self.waiting.len() > 2 * live + 1024 {
            self.waiting.retain(|(since, instance)| waits(*since, *instance));
        }
    }

    /// Reads and starts again. `head` is the instance that waits longest: the gap that it asks for, and how long it has waited.
    pub(crate) fn read(&mut self, head: Option<(Duration, Duration)>) -> Reading {
        let (gap, waited) = head.unwrap_or_default();
        // Where nothing could start, only the head is known.
        let (requested, actual) =
            if self.requested.is_zero() { (gap, gap + waited) } else { (self.requested, self.actual) };
        let now = factor(requested, actual);
        // Half of the old one, so that a short burst is not taken for a shortage.
        self.stretch = now.midpoint(self.stretch.max(UNSTRETCHED));
        let lag = self.worst.max(waited);
        (self.requested, self.actual, self.worst) = (Duration::ZERO, Duration::ZERO, Duration::ZERO);
        Reading { lag, stretch: self.stretch }
    }
}

fn factor(requested: Duration, actual: Duration) -> u64 {
    let thousandths = (actual.as_millis() * u128::from(UNSTRETCHED)).checked_div(requested.as_millis());
    thousandths.map_or(UNSTRETCHED, |factor| u64::try_from(factor).unwrap_or(u64::MAX)).max(UNSTRETCHED)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn the_longest_wait_is_the_lag_even_if_nothing_starts() {
        let mut meter = LagMeter::default();
        meter.waits(UnixMs(0), CheckId::plain(1));
        meter.waits(UnixMs(500), CheckId::plain(2));
        assert_eq!(meter.head(|_, _| true), Some((UnixMs(0), CheckId::plain(1))));
        assert_eq!(meter.head(|_, id| id.instance.0 != 1), Some((UnixMs(500), CheckId::plain(2))), "the first is gone");
        let reading = meter.read(Some((SECOND, 9 * SECOND)));
        assert_eq!(reading, Reading { lag: 9 * SECOND, stretch: 5_500 }, "half of ten and of what was before");
        assert_eq!(meter.head(|_, _| false), None);
        assert_eq!(meter.read(None).lag, Duration::ZERO);
    }

    #[test]
    fn the_factor_is_that_of_all_that_started() {
        let mut meter = LagMeter::default();
        for _ in 0..20 {
            meter.started(SECOND, 3 * SECOND);
            meter.started(30 * SECOND, 90 * SECOND);
            meter.read(Some((SECOND, SECOND)));
        }
        meter.started(SECOND, 3 * SECOND);
        assert_eq!(meter.read(None).stretch / 10, 399, "four times as long as requested");
        for _ in 0..20 {
            meter.read(None);
        }
        assert_eq!(meter.read(None).stretch, UNSTRETCHED);
    }

    #[test]
    fn outdated_entries_do_not_pile_up() {
        let mut meter = LagMeter::default();
        for n in 0..10_000 {
            meter.waits(UnixMs(n), CheckId::plain(1));
            meter.tidy(1, |since, _| since == UnixMs(n));
        }
        assert!(meter.waiting.len() <= 1026, "{}", meter.waiting.len());
    }
}
