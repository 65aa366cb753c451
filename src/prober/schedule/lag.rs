//! How far probing is behind: how long the longest-waiting instance has waited, and by what factor intervals are stretched.
//!
//! Kept apart for targets that answer and for those that hang: the latter wait for slots, the former for the processor, and what the one
//! lacks says nothing of the other.

use std::collections::VecDeque;
use std::time::Duration;

use super::detection_time;
use crate::model::service::InstanceId;
use crate::model::time::UnixMs;
use crate::prober::engine::Prober;
use crate::prober::targets::tracked::{Place, Tracked};

/// A factor of 1.
pub(crate) const UNSTRETCHED: u64 = 1000;

/// One lane's pressure.
#[derive(Debug, Default)]
pub(crate) struct Pressure {
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

impl Pressure {
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

impl Prober {
    /// Notes how far behind probing is, for those who look.
    pub(crate) fn read_pressure(&mut self, now: UnixMs) {
        let tracked = &self.tracked;
        let waits = |t: &Tracked, since| matches!(t.place, Place::Queued(at) if at == since);
        let readings = self.pressure.each_mut().map(|lane| {
            let stands = |since, id| tracked.get(&id).is_some_and(|t| waits(t, since));
            lane.tidy(tracked.len(), stands);
            let head = lane.head(stands);
            let head = head.and_then(|(since, id)| Some((tracked.get(&id)?.timing.interval, now.since(since))));
            lane.read(head)
        });
        // What is due and not even in line.
        let unqueued = self.schedule.next().map_or(Duration::ZERO, |due| now.since(due));
        let [answering, hanging] = readings;
        let answering = Reading { lag: answering.lag.max(unqueued), ..answering };
        self.tally.pressure(answering, hanging);
        self.status.pressure(answering, hanging);
        if self.known_for != self.tracked.len() {
            self.known_for = self.tracked.len();
            let all = self.tracked.values().map(|t| (t.namespace, &t.timing));
            let known = detection_time::until_all_are_known(all, self.slots.all()).unwrap_or_default();
            self.tally.all_known(known);
            self.status.all_known(known);
        }
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
        let mut pressure = Pressure::default();
        pressure.waits(UnixMs(0), InstanceId(1));
        pressure.waits(UnixMs(500), InstanceId(2));
        assert_eq!(pressure.head(|_, _| true), Some((UnixMs(0), InstanceId(1))));
        assert_eq!(pressure.head(|_, id| id.0 != 1), Some((UnixMs(500), InstanceId(2))), "the first is gone");
        let reading = pressure.read(Some((SECOND, 9 * SECOND)));
        assert_eq!(reading, Reading { lag: 9 * SECOND, stretch: 5_500 }, "half of ten and of what was before");
        assert_eq!(pressure.head(|_, _| false), None);
        assert_eq!(pressure.read(None).lag, Duration::ZERO);
    }

    #[test]
    fn the_factor_is_that_of_all_that_started() {
        let mut pressure = Pressure::default();
        for _ in 0..20 {
            pressure.started(SECOND, 3 * SECOND);
            pressure.started(30 * SECOND, 90 * SECOND);
            pressure.read(Some((SECOND, SECOND)));
        }
        pressure.started(SECOND, 3 * SECOND);
        assert_eq!(pressure.read(None).stretch / 10, 399, "four times as long as asked");
        for _ in 0..20 {
            pressure.read(None);
        }
        assert_eq!(pressure.read(None).stretch, UNSTRETCHED);
    }

    #[test]
    fn entries_that_no_longer_stand_do_not_pile_up() {
        let mut pressure = Pressure::default();
        for n in 0..10_000 {
            pressure.waits(UnixMs(n), InstanceId(1));
            pressure.tidy(1, |since, _| since == UnixMs(n));
        }
        assert!(pressure.waiting.len() <= 1026, "{}", pressure.waiting.len());
    }
}
