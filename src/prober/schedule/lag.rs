//! How far probing is behind: how long the longest-waiting instance has waited, and by what factor intervals are stretched.
//!
//! Kept apart for targets that answer and for those that hang: the latter wait for slots, the former for the processor, and what the one
//! lacks says nothing of the other.

use std::collections::VecDeque;
use std::time::Duration;

use crate::model::service::InstanceId;
use crate::model::time::UnixMs;

/// A factor of 1.
pub(crate) const UNSTRETCHED: u64 = 1000;

/// One lane's meter.
#[derive(Debug, Default)]
pub(crate) struct LagMeter {
    /// Since when who waits, roughly in that order. Entries of those that no longer do stay until they come to the front.
    waiting: VecDeque<(UnixMs, InstanceId)>,
    /// Of the probes that started since the last reading: what their gaps were to be, and what they became.
    asked: Duration,
    became: Duration,
    /// Longest time that one of them waited.
    worst: Duration,
    /// The factor, in thousandths, as last read.
    stretch: u64,
}

/// One reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reading {
    /// Longest time that one waited, among those that started since the last reading and the one that waits longest now.
    pub(crate) lag: Duration,
    /// What gaps between probes are to what was asked for, in thousandths, at least [`UNSTRETCHED`].
    pub(crate) stretch: u64,
}

impl LagMeter {
    /// An instance waits since then.
    pub(crate) fn waits(&mut self, since: UnixMs, instance: InstanceId) {
        self.waiting.push_back((since, instance));
    }

    /// A probe starts after it waited so long, of an instance that asks for this gap.
    pub(crate) fn started(&mut self, gap: Duration, waited: Duration) {
        self.asked += gap;
        self.became += gap + waited;
        self.worst = self.worst.max(waited);
    }

    /// Since when the one that waits longest does; `waits` says of an entry whether it still stands.
    pub(crate) fn head(&mut self, waits: impl Fn(UnixMs, InstanceId) -> bool) -> Option<(UnixMs, InstanceId)> {
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

    /// Drops what no longer stands once it is more than what is `live`, so that memory stays bounded.
    pub(crate) fn tidy(&mut self, live: usize, waits: impl Fn(UnixMs, InstanceId) -> bool) {
        if self.waiting.len() > 2 * live + 1024 {
            self.waiting.retain(|(since, instance)| waits(*since, *instance));
        }
    }

    /// Reads and begins again. `head`: the gap that the one which waits longest asks for, and how long it has waited.
    pub(crate) fn read(&mut self, head: Option<(Duration, Duration)>) -> Reading {
        let (gap, waited) = head.unwrap_or_default();
        // Where nothing could start, the head alone tells.
        let (asked, became) = if self.asked.is_zero() { (gap, gap + waited) } else { (self.asked, self.became) };
        let now = factor(asked, became);
        // Half of the old one, so that a burst of a moment is not taken for a lack.
        self.stretch = now.midpoint(self.stretch.max(UNSTRETCHED));
        let lag = self.worst.max(waited);
        (self.asked, self.became, self.worst) = (Duration::ZERO, Duration::ZERO, Duration::ZERO);
        Reading { lag, stretch: self.stretch }
    }
}

fn factor(asked: Duration, became: Duration) -> u64 {
    let thousandths = (became.as_millis() * u128::from(UNSTRETCHED)).checked_div(asked.as_millis());
    thousandths.map_or(UNSTRETCHED, |factor| u64::try_from(factor).unwrap_or(u64::MAX)).max(UNSTRETCHED)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn the_one_that_waits_longest_tells_the_lag_though_nothing_starts() {
        let mut meter = LagMeter::default();
        meter.waits(UnixMs(0), InstanceId(1));
        meter.waits(UnixMs(500), InstanceId(2));
        assert_eq!(meter.head(|_, _| true), Some((UnixMs(0), InstanceId(1))));
        assert_eq!(meter.head(|_, id| id.0 != 1), Some((UnixMs(500), InstanceId(2))), "the first is gone");
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
        assert_eq!(meter.read(None).stretch / 10, 399, "four times as long as asked");
        for _ in 0..20 {
            meter.read(None);
        }
        assert_eq!(meter.read(None).stretch, UNSTRETCHED);
    }

    #[test]
    fn entries_that_no_longer_stand_do_not_pile_up() {
        let mut meter = LagMeter::default();
        for n in 0..10_000 {
            meter.waits(UnixMs(n), InstanceId(1));
            meter.tidy(1, |since, _| since == UnixMs(n));
        }
        assert!(meter.waiting.len() <= 1026, "{}", meter.waiting.len());
    }
}
